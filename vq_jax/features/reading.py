"""Readers for the file formats of released weights, without PyTorch.

Two formats are pickles, which can call any function; these readers allow only
the functions that rebuild arrays. The third is safetensors.
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
  """An unpickler that allows only given names."""

  def __init__(self, file, known: dict[str, Any]):
    super().__init__(file)
    self._known = known
    self.storages: dict[str, np.ndarray] = {}

  def find_class(self, module: str, name: str) -> Any:
    """Returns the object of an allowed name.

    Raises:
      ValueError: if the name is not allowed.
    """
    if f'{module}.{name}' not in self._known:
      raise ValueError(
        f'weights need no {module}.{name}; the file asks for it and may be '
        'hostile. Nothing in it was run.'
      )
    return self._known[f'{module}.{name}']

  def persistent_load(self, pid: tuple) -> np.ndarray:
    """Returns the array that will hold a tensor, before it is read."""
    _, dtype, key, _, size, _ = pid
    return self.storages.setdefault(key, np.empty(size, dtype))


@contextlib.contextmanager
def _opened(path: str | os.PathLike) -> Iterator[BinaryIO]:
  """Opens a file with weights.

  Raises:
    ValueError: if the file is of another kind, or truncated.
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
  """Reads a pickle of nested dicts of arrays.

  Raises:
    ValueError: if the file contains anything else.
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
  """Reads a state dict in the older format of `torch.save` or in safetensors.

  The former consists of pickles followed by the storages.

  Returns:
    the arrays of the state dict by their names.

  Raises:
    ValueError: if the file contains anything else.
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
      raise ValueError(f'{path} is not a state dict of PyTorch.')
    unpickler = _Unpickler(file, known)
    state = unpickler.load()
    for key in _Unpickler(file, {}).load():
      file.seek(8, os.SEEK_CUR)  # The number of elements is known already.
      storage = unpickler.storages[key]
      if file.readinto(storage) != storage.nbytes:
        raise ValueError(f'{path} ends before its last tensor.')
  return dict(state)


def _tensor(storage, offset, shape, strides, *_) -> np.ndarray:
  """Returns a view of a storage, which is read later.

  Raises:
    ValueError: if the view exceeds the storage.
  """
  size = storage.itemsize
  return np.ndarray(
    shape,
    storage.dtype,
    storage,
    size * offset,
    tuple(size * stride for stride in strides),
  )
