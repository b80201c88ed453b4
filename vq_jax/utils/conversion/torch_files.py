"""Writing of the zip format of `torch.save`, without PyTorch.

    archive/data.pkl    the pickled dicts; a tensor refers to its storage
    archive/data/<i>    the bytes of the storage i
    archive/byteorder, archive/version

The pickle is written opcode by opcode, since the functions to which it refers
exist only in PyTorch.
Source: torch/serialization.py of PyTorch, `_save`.
"""

import os
import pickle
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from vq_jax.utils import paths

_ROOT = 'archive'


def write(path: str | os.PathLike, tree: Mapping[str, Any]) -> None:
  """Writes nested dicts of float32 arrays as `torch.save` does.

  Example:
    >>> import pathlib, tempfile
    >>> from vq_jax.utils.conversion import states
    >>> path = pathlib.Path(tempfile.mkdtemp()) / 'last.ckpt'
    >>> write(path, {'state_dict': {'weight': np.ones(2, np.float32)}})
    >>> states.load_arrays(path)
    {'weight': array([1., 1.], dtype=float32)}

  Args:
    path: the file, which is replaced atomically.
    tree: str -> array or dict.
  """
  storages: list[np.ndarray] = []
  content = b'\x80\x02' + _dump(tree, storages) + b'.'
  with (
    paths.replacing(path) as temporary,
    zipfile.ZipFile(temporary, 'w', zipfile.ZIP_STORED) as archive,
  ):
    archive.writestr(f'{_ROOT}/data.pkl', content)
    archive.writestr(f'{_ROOT}/byteorder', b'little')
    for i, storage in enumerate(storages):
      archive.writestr(f'{_ROOT}/data/{i}', storage.tobytes())
    archive.writestr(f'{_ROOT}/version', b'3\n')


def _dump(value: Any, storages: list[np.ndarray]) -> bytes:
  """Returns the opcodes for a dict, an array or a plain value."""
  if isinstance(value, Mapping):
    items = b''.join(_plain(k) + _dump(v, storages) for k, v in value.items())
    return b'}(' + items + b'u'
  if isinstance(value, np.ndarray):
    return _dump_tensor(value, storages)
  return _plain(value)


def _dump_tensor(array: np.ndarray, storages: list[np.ndarray]) -> bytes:
  """Returns the opcodes of a tensor, and adds its storage."""
  array = np.ascontiguousarray(array, '<f4').reshape(array.shape)
  strides = tuple(s // array.itemsize for s in array.strides)
  reference = b'(' + _plain('storage') + b'ctorch\nFloatStorage\n'
  reference += _plain(str(len(storages))) + _plain('cpu')
  reference += _plain(array.size) + b'tQ'
  storages.append(array)
  hooks = b'ccollections\nOrderedDict\n)R'
  arguments = reference + _plain(0) + _plain(array.shape) + _plain(strides)
  arguments += _plain(False) + hooks
  return b'ctorch._utils\n_rebuild_tensor_v2\n(' + arguments + b'tR'


def _plain(value: Any) -> bytes:
  """Returns the opcodes of a plain value, without those of a whole pickle."""
  return pickle.dumps(value, 2)[2:-1]
