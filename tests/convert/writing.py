"""Writes what `torch.save` writes, opcode by opcode, without PyTorch; reads."""

import dataclasses
import pickle
import struct
import zipfile
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from vq_jax.utils.conversion import pickles
from vq_jax.utils.conversion import unpickling

STORAGES = {
  np.dtype('f8'): 'DoubleStorage',
  np.dtype('f4'): 'FloatStorage',
  np.dtype('f2'): 'HalfStorage',
  np.dtype(ml_dtypes.bfloat16): 'BFloat16Storage',
  np.dtype('i8'): 'LongStorage',
  np.dtype('i4'): 'IntStorage',
  np.dtype('i2'): 'ShortStorage',
  np.dtype('i1'): 'CharStorage',
  np.dtype('u1'): 'ByteStorage',
  np.dtype('?'): 'BoolStorage',
}


class Raw(bytes):
  """Opcodes that leave one object on the stack."""


@dataclasses.dataclass
class View:
  """A tensor that is a view of a storage, which others may share."""

  storage: np.ndarray
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]
  parameter: bool = False


def name(module: str, attribute: str) -> Raw:
  return Raw(f'c{module}\n{attribute}\n'.encode())


def called(function: Raw, *args: Any) -> Raw:
  """Opcodes of a call, with REDUCE."""
  return Raw(function + b'(' + b''.join(map(plain, args)) + b't' + b'R')


def plain(value: Any) -> bytes:
  """Opcodes for a value without tensors."""
  return value if isinstance(value, Raw) else pickle.dumps(value, 2)[2:-1]


class Writer:
  """Collects the storages of what it pickles."""

  def __init__(self, *, legacy: bool = False):
    self.storages: list[np.ndarray] = []
    self.legacy = legacy

  def dumps(self, tree: Any) -> bytes:
    return b'\x80\x02' + self._value(tree) + b'.'

  def _value(self, value: Any) -> bytes:
    if isinstance(value, Raw):
      return value
    if isinstance(value, dict):
      items = b''.join(plain(k) + self._value(v) for k, v in value.items())
      return called(name('collections', 'OrderedDict')) + b'(' + items + b'u'
    if isinstance(value, np.ndarray):
      flat = np.ascontiguousarray(value).reshape(-1)
      strides = [s // value.itemsize for s in _strides(value)]
      return self._tensor(View(flat, 0, value.shape, tuple(strides)))
    return self._tensor(value) if isinstance(value, View) else plain(value)

  def _tensor(self, view: View) -> bytes:
    keys = [i for i, s in enumerate(self.storages) if s is view.storage]
    if not keys:
      self.storages.append(view.storage)
    key = keys[0] if keys else len(self.storages) - 1
    kind = name('torch', STORAGES[view.storage.dtype])
    reference = b'(' + plain('storage') + kind + plain(str(key))
    reference += plain('cpu') + plain(view.storage.size)
    reference += plain(None) if self.legacy else b''
    hooks = called(name('collections', 'OrderedDict'))
    result = called(
      name('torch._utils', '_rebuild_tensor_v2'),
      Raw(reference + b'tQ'),
      view.offset,
      tuple(view.shape),
      tuple(view.strides),
      False,
      hooks,
    )
    if view.parameter:
      function = name('torch._utils', '_rebuild_parameter')
      result = called(function, result, True, hooks)
    return result


def _strides(array: np.ndarray) -> tuple[int, ...]:
  return np.empty(array.shape, array.dtype).strides


def save(path, tree: Any, *, root='archive', **records: bytes) -> None:
  """Writes the zip format; `records` replace or add records."""
  writer = Writer()
  contents = {'data.pkl': writer.dumps(tree), 'byteorder': b'little'}
  contents |= {f'data/{i}': s.tobytes() for i, s in enumerate(writer.storages)}
  contents |= {'version': b'3\n', **records}
  with zipfile.ZipFile(path, 'w', zipfile.ZIP_STORED) as archive:
    for record, data in contents.items():
      archive.writestr(f'{root}/{record}', data)


def save_legacy(path, tree: Any, *, little: bool = True) -> None:
  """Writes the format before it."""
  writer = Writer(legacy=True)
  main = writer.dumps(tree)
  sizes = {'short': 2, 'int': 4, 'long': 4}
  system = {
    'protocol_version': 1001, 'little_endian': little, 'type_sizes': sizes
  }  # fmt: skip
  keys = [str(i) for i in range(len(writer.storages))]
  with open(path, 'wb') as file:
    for value in (0x1950A86A20F9469CFC6C, 1001, system):
      file.write(pickle.dumps(value, 2))
    file.write(main + pickle.dumps(keys, 2))
    for storage in writer.storages:
      file.write(struct.pack('<q', storage.size) + storage.tobytes())


each_format = pytest.mark.parametrize('save', [save, save_legacy])


def read(path):
  """Reads all tensors of a file of one dict."""
  with pickles.reading(path) as tree:
    return {
      k: np.array(v.numpy()) if isinstance(v, unpickling.Tensor) else v
      for k, v in tree.items()
    }
