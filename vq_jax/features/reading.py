"""Reading the formats that released weights have, without PyTorch.

Two are pickles, which may call anything: here they can call what rebuilds an
array, and any other name is refused. The third, safetensors, holds arrays only.
"""

import collections
import contextlib
import os
import pathlib
import pickle
from collections.abc import Iterator
from typing import Any
from typing import BinaryIO

import numpy as np

from vq_jax.utils import file_kinds
from vq_jax.utils import safetensors

_DTYPES = {'FloatStorage': np.dtype('<f4'), 'LongStorage': np.dtype('<i8')}
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


class _Unpickler(pickle.Unpickler):
  """Knows the names that it is given, and no others."""

  def __init__(self, file, known: dict[str, Any]):
    super().__init__(file)
    self._known = known
    self.storages: dict[str, np.ndarray] = {}

  def find_class(self, module: str, name: str) -> Any:
    """Returns what a name stands for.

    Raises:
      ValueError: if weights have no need of it.
    """
    if f'{module}.{name}' not in self._known:
      raise ValueError(
        f'weights need no {module}.{name}; the file asks for it and may be '
        'hostile. Nothing in it was run.'
      )
    return self._known[f'{module}.{name}']

  def persistent_load(self, pid: tuple) -> np.ndarray:
    """Returns where a tensor's numbers will be, once they are read."""
    _, dtype, key, _, size, _ = pid
    return self.storages.setdefault(key, np.empty(size, dtype))


@contextlib.contextmanager
def _opened(path: str | os.PathLike) -> Iterator[BinaryIO]:
  """Opens a file of weights; refuses what holds none.

  Raises:
    ValueError: if the file is something else, or ends early.
    OSError: if it cannot be read.
  """
  with pathlib.Path(path).open('rb') as file:
    other = file_kinds.describe_non_weights(file_kinds.read_head(file))
    if other is not None:
      raise ValueError(f'{path} holds no weights: it is {other}.')
    file.seek(0)
    try:
      yield file
    except (EOFError, pickle.UnpicklingError) as error:
      raise ValueError(
        f'{path} cannot be read as weights: {error}. Download it again.'
      ) from error


def numpy_tree(path: str | os.PathLike) -> dict[str, Any]:
  """Reads nested dicts of arrays that `pickle` wrote.

  Raises:
    ValueError: if the file holds anything else.
    OSError: if it cannot be read.
  """
  known = {
    'numpy.core.multiarray._reconstruct': np.empty(0).__reduce__()[0],
    'numpy.ndarray': np.ndarray,
    'numpy.dtype': np.dtype,
  }
  with _opened(path) as file:
    return _Unpickler(file, known).load()


def torch_state(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """Reads the older format of `torch.save`, or safetensors.

  The former is pickles, then the storages.

  Returns:
    The arrays of a state dict by their names.

  Raises:
    ValueError: if the file holds anything else.
    OSError: if it cannot be read.
  """
  known = {
    'collections.OrderedDict': collections.OrderedDict,
    'torch._utils._rebuild_tensor_v2': _tensor,
    **{f'torch.{name}': dtype for name, dtype in _DTYPES.items()},
  }
  with _opened(path) as file:
    if safetensors.is_safetensors(file_kinds.read_head(file)):
      return {
        name: np.frombuffer(entry.read(file), entry.dtype).reshape(entry.shape)
        for name, entry in safetensors.read_entries(file).items()
      }
    file.seek(0)
    header = [_Unpickler(file, {}).load() for _ in range(3)]
    if header[:2] != [_MAGIC, _PROTOCOL]:
      raise ValueError(f'{path} does not begin as a state of PyTorch does.')
    unpickler = _Unpickler(file, known)
    state = unpickler.load()
    for key in _Unpickler(file, {}).load():
      file.seek(8, os.SEEK_CUR)  # how many elements, which is known
      storage = unpickler.storages[key]
      if file.readinto(storage) != storage.nbytes:
        raise ValueError(f'{path} ends before its last tensor.')
  return dict(state)


def _tensor(storage, offset, shape, strides, *_) -> np.ndarray:
  """A view of a storage, whose numbers are yet to be read.

  Raises:
    ValueError: if it would reach beyond the storage.
  """
  size = storage.itemsize
  return np.ndarray(
    shape,
    storage.dtype,
    storage,
    size * offset,
    tuple(size * stride for stride in strides),
  )
