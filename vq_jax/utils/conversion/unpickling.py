"""Unpickling without executing code.

A pickle can call any function. This unpickler only calls the functions that
rebuild tensors and dicts; all other names, such as classes of PyTorch
Lightning, are replaced by an inert class that does nothing. A file with the
name of a function that can run programs, such as `os.system`, is refused, since
no checkpoint needs it. The modules of a TorchScript archive, whose classes are
named `__torch__....`, become records of their attributes.
"""

import dataclasses
import math
import pickle
import types
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any
from typing import BinaryIO

import ml_dtypes
import numpy as np

from vq_jax.utils.conversion import errors

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
  """A storage of PyTorch; `read` is set when its offset is known."""

  dtype: np.dtype
  size: int
  read: Callable[[], bytes] | None = None

  def __setstate__(self, state: Any) -> None:
    """Does nothing: a pickle may call it."""


@dataclasses.dataclass(frozen=True)
class Tensor:
  """A tensor whose elements are not read yet.

  Attributes:
    storage: the storage of its elements.
    offset: offset of the first element, in elements.
    shape: its shape.
    strides: its strides, in elements.
  """

  storage: Storage
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]

  def __setstate__(self, state: Any) -> None:
    """Does nothing: a pickle may call it."""

  def numpy(self) -> np.ndarray:
    """Reads the tensor.

    Raises:
      ConvertError: if the file is truncated.
    """
    assert self.storage.read is not None  # set when the file is opened
    dtype, data = self.storage.dtype, self.storage.read()
    if len(data) != self.storage.size * dtype.itemsize:
      # Otherwise the view would exceed the memory of `data`.
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
    except (OverflowError, ValueError) as error:  # only for empty tensors
      raise errors.ConvertError(
        f'no array has the shape {self.shape}: {error}'
      ) from error


class _Dict(dict):
  """An ordered dict whose attributes a pickle cannot set."""

  def __setstate__(self, state: Any) -> None:
    """Does nothing: a pickle may call it."""


class Inert:
  """A replacement for objects of unknown classes, which does nothing.

  Attributes:
    path: the name of the unknown class.
  """

  path = ''

  def __new__(cls, *args: Any, **kwargs: Any) -> 'Inert':
    """Ignores the arguments."""
    return super().__new__(cls)

  def __init__(self, *args: Any, **kwargs: Any):
    """Ignores the arguments."""

  @staticmethod
  def __setstate__(*state: Any) -> None:
    """Does nothing; it is static because a pickle may call it on the class."""

  def __setitem__(self, key: Any, value: Any) -> None:
    """Does nothing."""

  def append(self, *items: Any) -> None:
    """Does nothing."""

  extend = add = append


class Record(Inert):
  """An object of a TorchScript archive.

  Attributes:
    attributes: its attributes by name.
  """

  attributes: Mapping[str, Any] = types.MappingProxyType({})

  def __setstate__(self, state: Any) -> None:  # type: ignore[override]
    """Stores the attributes, which a pickle gives once.

    Raises:
      ConvertError: if they are no dict with names.
    """
    if not isinstance(state, dict) or not all(
      isinstance(name, str) for name in state
    ):
      raise errors.ConvertError(
        f'the state of {self.path} is {type(state).__name__}, not a dict of '
        'attributes'
      )
    self.attributes = state


def named_tensors(record: Record) -> dict[str, Tensor]:
  """Returns the tensors of a record by their paths, as `visual.conv1.weight`.

  Args:
    record: a module with its submodules. Attributes other than records and
      tensors are left out.

  Raises:
    ConvertError: if a record occurs at two places.
  """
  found, seen, stack = {}, {id(record)}, [('', record)]
  while stack:
    prefix, parent = stack.pop()
    for name, value in parent.attributes.items():
      if isinstance(value, Tensor):
        found[f'{prefix}{name}'] = value
      elif isinstance(value, Record):
        # Otherwise a small file could name more tensors than fit in memory.
        if id(value) in seen:
          raise errors.ConvertError(
            f'the module {prefix}{name} occurs at two places'
          )
        seen.add(id(value))
        stack.append((f'{prefix}{name}.', value))
  return found


class _Known:
  """A function that a pickle may call, but not modify."""

  def __init__(self, function: Callable):
    """Stores the function."""
    self.call = function

  def __call__(self, *args: Any) -> Any:
    """Calls the function."""
    return self.call(*args)

  def __setstate__(self, state: Any) -> None:
    """Does nothing: a pickle may call it."""


def _sizes(values: Any) -> tuple[int, ...]:
  found = tuple(values)
  if not all(type(value) is int and value >= 0 for value in found):
    raise errors.ConvertError(f'{values!r} are no sizes')
  return found


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any):
  """Rebuilds a tensor, after a check that it is within its storage."""
  if not isinstance(storage, Storage):
    raise errors.ConvertError('a tensor has no storage')
  (offset,), shape, strides = _sizes([offset]), _sizes(shape), _sizes(strides)
  if len(shape) != len(strides):
    raise errors.ConvertError(f'shape {shape} has strides {strides}')
  count = math.prod(shape)
  last = offset + sum(
    (n - 1) * step for n, step in zip(shape, strides, strict=True)
  )
  # A tensor with repeated elements could exceed any memory.
  if count and (last >= storage.size or count > storage.size):
    raise errors.ConvertError(
      f'a tensor of shape {shape} with strides {strides} at {offset} exceeds '
      f'its storage of {storage.size}'
    )
  return Tensor(storage, offset, shape, strides)


def _parameter(tensor: Any, *_: Any) -> Any:
  return tensor


_KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
  ('collections', 'OrderedDict'): _Dict,
  ('torch', 'Size'): tuple,
  ('torch._utils', '_rebuild_tensor'): _tensor,
  ('torch._utils', '_rebuild_tensor_v2'): _tensor,
  ('torch._utils', '_rebuild_parameter'): _parameter,
}


# Modules and functions that run programs or code, open files or import modules.
# They would be inert too, but a file that names them is refused.
_HOSTILE_MODULES = frozenset(
  {'ctypes', 'importlib', 'nt', 'os', 'pickle', 'posix', 'pty', 'runpy'}
  | {'shutil', 'socket', 'subprocess', 'sys'}
)
_BUILTINS = ('builtins', '__builtin__')
_HOSTILE_BUILTINS = frozenset(
  {'__import__', 'compile', 'eval', 'exec', 'execfile', 'file', 'input', 'open'}
)


class Unpickler(pickle.Unpickler):
  """An unpickler that replaces all names but those of `_KNOWN`."""

  def __init__(self, file: BinaryIO, storages: dict[str, Storage]):
    """Stores the file, and a dict that receives the storages by their keys."""
    super().__init__(file, encoding='latin1')
    self._storages = storages
    self._names: dict[tuple[str, str], Any] = {}

  def find_class(self, module: str, name: str) -> Any:
    """Returns a known function, or an inert class.

    Raises:
      ConvertError: if only a hostile file would use the name.
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
        scripted = module.partition('.')[0] == '__torch__'
        base = Record if scripted else Inert
        path = {'path': f'{module}.{name}'}
        self._names[key] = type(base.__name__, (base,), path)
    return self._names[key]

  def persistent_load(self, pid: Any) -> Storage:
    """Returns the storage of a tensor."""
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
      raise errors.ConvertError(f'storage {key} has two types or sizes')
    return found
