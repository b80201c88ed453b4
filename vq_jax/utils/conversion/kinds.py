"""Detection of files that are not checkpoints, with helpful errors."""

import os
import pathlib

from vq_jax.utils import file_kinds
from vq_jax.utils import safetensors
from vq_jax.utils.conversion import errors

_SUFFIXES = ('.bin', '.ckpt', '.msgpack', '.pt', '.pth', '.safetensors')


def require_file(path: str | os.PathLike) -> None:
  """Raises ConvertError for a folder, and lists the checkpoints in it."""
  path = pathlib.Path(path)
  if not path.is_dir():
    return
  found = sorted(p.name for p in path.iterdir() if p.suffix in _SUFFIXES)
  inside = ', '.join(found[:5]) or 'none with a known suffix'
  raise errors.ConvertError(
    f'{path} is a folder, and a checkpoint is one file; it holds {inside}.'
  )


def refuse(head: bytes, other: str) -> None:
  """Raises ConvertError for files without weights or of another framework.

  Args:
    head: the first bytes of the file.
    other: the format of the other framework, 'msgpack' or 'pytorch'.

  Raises:
    ConvertError: if the file has that format, or contains no weights.
  """
  found = file_kinds.describe_non_weights(head)
  if found is None and other == 'pytorch' and _is_pytorch(head):
    found = 'a checkpoint of PyTorch, and this kind is released for Flax'
  if found is None and other == 'msgpack' and _is_map(head):
    found = 'a msgpack file, as Flax writes them; this kind is of PyTorch'
  if found is not None:
    raise errors.ConvertError(f'it is {found}')


def _is_pytorch(head: bytes) -> bool:
  is_pickle = head[:1] == b'\x80' and head[1:2] in (b'\2', b'\3', b'\4', b'\5')
  return (
    is_pickle
    or head.startswith(b'PK\x03\x04')
    or safetensors.is_safetensors(head)
  )


def _is_map(head: bytes) -> bool:
  """Returns whether the first byte is that of a non-empty msgpack map."""
  return 0x81 <= head[0] <= 0x8F or head[0] in (0xDE, 0xDF)
