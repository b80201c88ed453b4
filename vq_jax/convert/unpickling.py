"""Unpickling that runs nothing that a file asks for.

A pickle may call anything. Here it can call what rebuilds a tensor or a dict;
every other name, such as a class of PyTorch Lightning, stands for an inert
object that does nothing when it is called. A file whose weights are made in
such a way has no weights for us. One that names what runs programs, such as
`os.system`, is refused: no checkpoint needs it.
"""

import dataclasses
import math
import pickle
from collections.abc import Callable
from typing import Any
from typing import BinaryIO

import ml_dtypes
import numpy as np

from vq_jax.convert import errors

# By the names of PyTorch's storages, and of its dtypes.
_DTYPES = {
  'DoubleStorage': np.dtype('<f8'),
  'FloatStorage': np.dtype('<f4'),
  'HalfStorage': np.dtype('<f2'),
  'BFloat16Storage': np.dtype(ml_dtypes.bfloat16),
  'LongStorage': np.dtype('<i8'),
  'IntStorage': np.dtype('<i4'),
  'ShortStorage': np.dtype('<i2'),
  'CharStorage': np.dtype('i1'),
  'ByteStorage': np.dtype('u1'),
  'BoolStorage': np.dtype('?'),
}


@dataclasses.dataclass
class Storage:
  """Where numbers lie; `read` is set once that is known."""

  dtype: np.dtype
  size: int
  read: Callable[[], bytes] | None = None

  def __setstate__(self, state: Any) -> None:
    """Does nothing: a pickle may call it."""


@dataclasses.dataclass(frozen=True)
class Tensor:
  """A tensor that is still in its file.

  Attributes:
    storage: the numbers it is a view of.
    offset: of its first element, in elements.
    shape: its shape.
    strides: in elements.
  """

  storage: Storage
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]

  def __setstate__(self, state: Any) -> None:
    """Does nothing: a pickle may call it."""

  def numpy(self) -> np.ndarray:
    """Reads it.

    Raises:
      ConvertError: if the file holds less than it says.
    """
    dtype, data = self.storage.dtype, self.storage.read()
    if len(data) != self.storage.size * dtype.itemsize:
      # A view would reach into the memory behind.
      raise errors.ConvertError(
        f'its storage should have {self.storage.size} elements of '
        f'{dtype.itemsize} bytes; {len(data)} bytes could be read'
      )
    flat = np.frombuffer(data, dtype)
    try:
      return np.lib.stride_tricks.as_strided(
        flat[self.offset :],
        self.shape,
        [stride * dtype.itemsize for stride in self.strides],
        writeable=False,
      )
    except (OverflowError, ValueError) as error:  # of an empty one alone
      raise errors.ConvertError(
        f'no array has the shape {self.shape}: {error}'
      ) from error


class _Dict(dict):
  """An ordered dict, whose attributes a pickle cannot set."""

  def __setstate__(self, state: Any) -> None:
    """Does nothing: a pickle may call it."""


class Inert:
  """What stands for an object of an unknown class: it takes all, does nothing.

  Attributes:
    path: the name of the class.
  """

  path = ''

  def __new__(cls, *args: Any, **kwargs: Any) -> 'Inert':
    """Ignores the arguments."""
    return super().__new__(cls)

  def __init__(self, *args: Any, **kwargs: Any):
    """Ignores the arguments."""

  @staticmethod
  def __setstate__(*state: Any) -> None:
    """Does nothing; static, for a pickle may call it on the class."""

  def __setitem__(self, key: Any, value: Any) -> None:
    """Does nothing."""

  def append(self, *items: Any) -> None:
    """Does nothing."""

  extend = add = append


class _Known:
  """A function that a pickle may call, and do no more with."""

  def __init__(self, function: Callable):
    """Takes the function."""
    self.call = function

  def __call__(self, *args: Any) -> Any:
    """Calls it."""
    return self.call(*args)

  def __setstate__(self, state: Any) -> None:
    """Does nothing: a pickle may call it."""


def _sizes(values: Any) -> tuple[int, ...]:
  found = tuple(values)
  if not all(type(value) is int and value >= 0 for value in found):
    raise errors.ConvertError(f'{values!r} are no sizes')
  return found


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any):
  """Rebuilds a tensor, if it lies within its storage."""
  if not isinstance(storage, Storage):
    raise errors.ConvertError('a tensor has no storage')
  (offset,), shape, strides = _sizes([offset]), _sizes(shape), _sizes(strides)
  if len(shape) != len(strides):
    raise errors.ConvertError(f'shape {shape} has strides {strides}')
  count = math.prod(shape)
  last = offset + sum(
    (n - 1) * step for n, step in zip(shape, strides, strict=True)
  )
  # A tensor that repeats its elements could be larger than any memory.
  if count and (last >= storage.size or count > storage.size):
    raise errors.ConvertError(
      f'a tensor of shape {shape} with strides {strides} at {offset} exceeds '
      f'its storage of {storage.size}'
    )
  return Tensor(storage, offset, shape, strides)


def _parameter(tensor: Any, *_: Any) -> Any:
  return tensor


_KNOWN = {
  ('collections', 'OrderedDict'): _Dict,
  ('torch', 'Size'): tuple,
  ('torch._utils', '_rebuild_tensor'): _tensor,
  ('torch._utils', '_rebuild_tensor_v2'): _tensor,
  ('torch._utils', '_rebuild_parameter'): _parameter,
}


# Names of what runs programs or code, opens files or imports. They would be
# inert as well; that a file has them is reason enough to refuse it.
_HOSTILE_MODULES = frozenset(
  {'ctypes', 'importlib', 'nt', 'os', 'pickle', 'posix', 'pty', 'runpy'}
  | {'shutil', 'socket', 'subprocess', 'sys'}
)
_BUILTINS = ('builtins', '__builtin__')
_HOSTILE_BUILTINS = frozenset(
  {'__import__', 'compile', 'eval', 'exec', 'execfile', 'file', 'input', 'open'}
)


class Unpickler(pickle.Unpickler):
  """Unpickles with inert objects for all but `_KNOWN`."""

  def __init__(self, file: BinaryIO, storages: dict[str, Storage]):
    """Takes the file, and a dict to fill with the storages by their keys."""
    super().__init__(file, encoding='latin1')
    self._storages = storages
    self._names = {}

  def find_class(self, module: str, name: str) -> Any:
    """Returns a function of ours or a class of inert objects.

    Raises:
      ConvertError: if the name is one that only a hostile file has.
    """
    key = (module, name)
    hostile = module.partition('.')[0] in _HOSTILE_MODULES
    if hostile or (module in _BUILTINS and name in _HOSTILE_BUILTINS):
      raise errors.ConvertError(
        f'it asks for {module}.{name}, which no checkpoint needs; the file may '
        'be hostile, and nothing in it was run'
      )
    if key not in self._names:
      if key in _KNOWN:
        self._names[key] = _Known(_KNOWN[key])
      else:
        path = {'path': f'{module}.{name}'}
        self._names[key] = type('Inert', (Inert,), path)
    return self._names[key]

  def persistent_load(self, pid: Any) -> Storage:
    """Returns the storage that a tensor refers to."""
    if not (isinstance(pid, tuple) and len(pid) >= 5 and pid[0] == 'storage'):
      raise errors.ConvertError(f'unknown reference {pid!r}')
    _, kind, key, _, size, *views = pid
    name = getattr(kind, 'path', '').removeprefix('torch.')
    if name not in _DTYPES:
      raise errors.ConvertError(f'unknown storage {name or kind}')
    if any(view is not None for view in views):
      raise errors.ConvertError('views of storages cannot be read')
    (size,) = _sizes([size])
    found = self._storages.setdefault(str(key), Storage(_DTYPES[name], size))
    if (found.dtype, found.size) != (_DTYPES[name], size):
      raise errors.ConvertError(f'storage {key} is two things at once')
    return found
