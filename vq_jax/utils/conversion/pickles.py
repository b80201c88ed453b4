"""A reader for PyTorch files that does not need PyTorch.

It reads both formats of `torch.save` and archives of TorchScript, without
executing pickled code (see `unpickling`), and safetensors.
"""

import contextlib
import functools
import math
import os
import pathlib
import struct
import zipfile
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any
from typing import BinaryIO
from typing import cast

from vq_jax.utils import file_kinds
from vq_jax.utils import safetensors
from vq_jax.utils.conversion import errors
from vq_jax.utils.conversion import kinds
from vq_jax.utils.conversion import unpickling

_PICKLE = b'\x80'  # of protocol 2 and later
_ZIP = b'PK\x03\x04'
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001


@contextlib.contextmanager
def reading(path: str | os.PathLike) -> Iterator[Any]:
  """Opens a file of `torch.save`, in either format, TorchScript or safetensors.

  The format is detected from the first bytes, whatever the suffix.

  Args:
    path: the file.

  Yields:
    the saved object: dicts and lists, tensors as `Tensor`, which can be read
    while the file is open, and all other objects as `Inert`; of an archive of
    TorchScript a dict of the tensors of the module by their names.

  Raises:
    ConvertError: if the file is of another kind or damaged.
    OSError: if it cannot be opened.
  """
  kinds.require_file(path)
  with contextlib.ExitStack() as stack:
    file = stack.enter_context(pathlib.Path(path).open('rb'))
    try:
      found = _read(file, stack)
    # A damaged file can raise any exception.
    except Exception as error:
      raise errors.ConvertError(
        f'{path} cannot be read as a PyTorch checkpoint: '
        f'{(str(error) or type(error).__name__).rstrip(".")}.'
      ) from error
    try:
      yield found
    except (zipfile.BadZipFile, EOFError) as error:
      raise errors.ConvertError(f'{path} is damaged: {error}.') from error


def _read(file: BinaryIO, stack: contextlib.ExitStack) -> Any:
  """Reads the saved object in the format of the first bytes."""
  head = file_kinds.read_head(file)
  file.seek(0)
  if safetensors.is_safetensors(head):
    return _read_safetensors(file)
  if head.startswith(_ZIP):
    try:
      archive = stack.enter_context(zipfile.ZipFile(file))
    except zipfile.BadZipFile as error:
      raise errors.ConvertError(
        f'it is cut off or damaged ({error}); download it again'
      ) from error
    return _read_zip(archive)
  kinds.refuse(head, 'msgpack')
  if not head.startswith(_PICKLE):
    raise errors.ConvertError(
      f'its first bytes, {head[:8]!r}, are not those of a PyTorch file'
    )
  try:
    return _read_legacy(file)
  except (EOFError, struct.error) as error:
    raise errors.ConvertError(
      f'it is cut off ({error}); download it again'
    ) from error


def _read_safetensors(file: BinaryIO) -> dict[str, unpickling.Tensor]:
  """Reads names and offsets of the arrays."""

  def tensor(entry):
    strides = [math.prod(entry.shape[i + 1 :]) for i in range(len(entry.shape))]
    storage = unpickling.Storage(
      entry.dtype, entry.size, lambda: entry.read(file)
    )
    return unpickling.Tensor(storage, 0, entry.shape, tuple(strides))

  found = safetensors.read_entries(file)
  return {name: tensor(entry) for name, entry in found.items()}


def _last_read(read: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
  """Caches the last result, since several tensors may share one storage."""
  last: list = [None, b'']

  def cached(key):
    if last[0] != key:
      last[:] = None, b''  # so that two are never in memory
      last[:] = key, read(key)
    return last[1]

  return cached


def _read_zip(archive: zipfile.ZipFile) -> Any:
  """Reads the zip format: `<name>/data.pkl`, `<name>/data/<key>`, ..."""
  records = {info.filename: info for info in archive.infolist()}
  pickles = [name for name in records if name.endswith('/data.pkl')]
  if len(pickles) != 1:
    raise errors.ConvertError(
      'it is a zip file without one data.pkl, which torch.save writes; unpack '
      'it and give the checkpoint in it'
    )
  root = pickles[0].removesuffix('data.pkl')
  # PyTorch compresses nothing but the code of TorchScript, which is not read,
  # so no record can be larger than the file.
  if any(
    info.compress_type != zipfile.ZIP_STORED
    for name, info in records.items()
    if not name.startswith(f'{root}code/')
  ):
    raise errors.ConvertError('it has compressed records')
  order = f'{root}byteorder'
  if order in records and archive.read(order) != b'little':
    raise errors.ConvertError('it is big-endian')
  storages: dict[str, unpickling.Storage] = {}
  with archive.open(pickles[0]) as file:
    found = unpickling.Unpickler(cast(BinaryIO, file), storages).load()
  read = _last_read(functools.partial(_read_record, archive))
  for key, storage in storages.items():
    info = records.get(f'{root}data/{key}')
    size = storage.size * storage.dtype.itemsize
    if info is None or info.file_size != size:
      raise errors.ConvertError(
        f'storage {key} should have {size} bytes and has '
        f'{info.file_size if info else "no record"}'
      )
    storage.read = lambda name=info.filename: read(name)
  if isinstance(found, unpickling.Record):
    return unpickling.named_tensors(found)
  return found


def _read_record(archive: zipfile.ZipFile, name: str) -> bytes:
  """Reads a record; one that is encrypted or patched is damaged."""
  try:
    return archive.read(name)
  except RuntimeError as error:
    raise zipfile.BadZipFile(str(error)) from error


def _read_legacy(file: BinaryIO) -> Any:
  """Reads the older format: five pickles, then the storages one by one."""
  storages: dict[str, unpickling.Storage] = {}

  def load():
    return unpickling.Unpickler(cast(BinaryIO, file), storages).load()

  if load() != _LEGACY_MAGIC or load() != _LEGACY_PROTOCOL:
    raise errors.ConvertError('it is a pickle that torch.save did not write')
  if load().get('little_endian') is not True:
    raise errors.ConvertError('it is big-endian')
  found, keys = load(), load()
  end = os.fstat(file.fileno()).st_size

  def read_at(span):
    offset, size = span
    file.seek(offset)
    return file.read(size)

  read = _last_read(read_at)
  for key in keys:
    storage = storages[str(key)]
    size = storage.size * storage.dtype.itemsize
    (count,) = struct.unpack('<q', file.read(8))
    span = (file.tell(), size)
    if count != storage.size or sum(span) > end:
      raise errors.ConvertError(f'storage {key} is cut off')
    storage.read = lambda span=span: read(span)
    file.seek(size, os.SEEK_CUR)
  unread = [key for key, storage in storages.items() if storage.read is None]
  if unread:
    raise errors.ConvertError(f'storages {unread} are missing')
  return found
