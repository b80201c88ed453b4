"""Reading and writing of safetensors files.

    8 bytes: N, the length of the header, little-endian
    N bytes: JSON, name -> {'dtype': 'F32', 'shape': [..], 'data_offsets': [..]}
    the arrays one after the other, little-endian

The header of a file from elsewhere may be wrong, so it is checked completely
before an array is read.
Source: https://github.com/huggingface/safetensors, section Format.
"""

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from typing import Any
from typing import BinaryIO

import ml_dtypes
import numpy as np

from vq_jax.utils import paths

DTYPES = {
  'F64': np.dtype('<f8'),
  'F32': np.dtype('<f4'),
  'F16': np.dtype('<f2'),
  'BF16': np.dtype(ml_dtypes.bfloat16),
  'I64': np.dtype('<i8'),
  'I32': np.dtype('<i4'),
  'I16': np.dtype('<i2'),
  'I8': np.dtype('i1'),
  'U8': np.dtype('u1'),
  'BOOL': np.dtype('?'),
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_METADATA = '__metadata__'
_KEYS = {'dtype', 'shape', 'data_offsets'}
_LONGEST_HEADER = 100_000_000  # bytes; the limit of the released reader


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
  """An array in a file.

  Attributes:
    dtype: dtype of the elements.
    shape: shape of the array, in C order.
    start: position of the first byte in the file.
  """

  dtype: np.dtype
  shape: tuple[int, ...]
  start: int

  @property
  def size(self) -> int:
    """Number of elements."""
    return math.prod(self.shape)

  @property
  def nbytes(self) -> int:
    """Number of bytes."""
    return self.size * self.dtype.itemsize

  def read(self, file: BinaryIO) -> bytes:
    """Reads the bytes of the array."""
    file.seek(self.start)
    return file.read(self.nbytes)


def is_safetensors(head: bytes) -> bool:
  """Returns whether a file with these first bytes may be a safetensors file."""
  length = int.from_bytes(head[:8], 'little')
  return head[8:9] == b'{' and 2 <= length <= _LONGEST_HEADER


def read_entries(file: BinaryIO) -> dict[str, Entry]:
  """Reads the header of a file.

  Args:
    file: a file on disk.

  Returns:
    A dict from names to entries.

  Raises:
    ValueError: if the header is damaged, or does not describe each byte after
      it exactly once.
  """
  whole = file.seek(0, os.SEEK_END)
  file.seek(0)
  length = int.from_bytes(file.read(8), 'little')
  if not 2 <= length <= _LONGEST_HEADER:
    raise ValueError(f'its header cannot have {length} bytes')
  if 8 + length > whole:
    raise ValueError(
      f'it is cut off: its header should have {length} bytes, and the file has '
      f'{whole}; download it again'
    )
  header = _header(file.read(length))
  found = {
    name: _entry(name, value, 8 + length)
    for name, value in header.items()
    if name != _METADATA
  }
  end, before = 8 + length, 'the header'
  in_order = sorted(found.items(), key=lambda x: (x[1].start, x[1].nbytes))
  for name, entry in in_order:
    if entry.start != end:
      fault = 'overlap' if entry.start < end else 'have a gap between them'
      raise ValueError(f'{before} and {name} {fault}')
    end, before = entry.start + entry.nbytes, name
  if end != whole:
    fault = 'cut off' if whole < end else 'longer than it says'
    raise ValueError(
      f'it is {fault}: its header tells of {end} bytes, and the file has '
      f'{whole}; download it again'
    )
  return found


def _header(data: bytes) -> dict[str, Any]:
  """Parses the header, whose names must be unique."""

  def unique(pairs):
    if len(dict(pairs)) < len(pairs):
      raise ValueError('two arrays have one name')
    return dict(pairs)

  try:
    header = json.loads(data.decode(), object_pairs_hook=unique)
  except (ValueError, RecursionError) as error:
    raise ValueError(f'its header cannot be read: {error}') from error
  if not isinstance(header, dict):
    raise ValueError('its header holds no names')
  return header


def _entry(name: str, value: Any, base: int) -> Entry:
  """Checks the header of one array."""
  if not isinstance(value, dict) or value.keys() != _KEYS:
    raise ValueError(f'{name} must have dtype, shape and data_offsets')
  if value['dtype'] not in [*DTYPES]:
    raise ValueError(
      f'{name} has the dtype {value["dtype"]!r}, not one of {", ".join(DTYPES)}'
    )
  for key in ('shape', 'data_offsets'):
    numbers = value[key]
    if not isinstance(numbers, list) or not all(
      type(n) is int and 0 <= n < 2**48 for n in numbers
    ):
      raise ValueError(f'{name} has the {key} {numbers!r:.40}')
  shape, offsets = tuple(value['shape']), value['data_offsets']
  dtype = DTYPES[value['dtype']]
  size = math.prod(shape) * dtype.itemsize
  if len(offsets) != 2 or offsets[1] - offsets[0] != size:
    raise ValueError(
      f'{name} with the shape {shape} has {size} bytes, and its data_offsets '
      f'are {offsets!r:.40}'
    )
  return Entry(dtype=dtype, shape=shape, start=base + offsets[0])


def write(
  path: str | os.PathLike,
  arrays: Mapping[str, np.ndarray],
  metadata: Mapping[str, str],
) -> None:
  """Writes a file atomically.

  Example:
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / 'a.safetensors'
    >>> write(path, {'kernel': np.ones(2, np.float32)}, {'step': '5'})
    >>> read(path)
    ({'kernel': array([1., 1.], dtype=float32)}, {'step': '5'})

  Args:
    path: the file.
    arrays: name -> array of a dtype in `DTYPES`.
    metadata: text that the header contains.

  Raises:
    ValueError: if an array has another dtype.
  """
  header: dict[str, Any] = {_METADATA: dict(metadata)}
  # The largest elements are first, so that each array is aligned.
  names = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
  end = 0
  for name in names:
    array = arrays[name]
    if array.dtype not in _NAMES:
      raise ValueError(
        f'{name} has the dtype {array.dtype}, and safetensors has only '
        f'{", ".join(map(str, _NAMES))}.'
      )
    start, end = end, end + array.nbytes
    header[name] = {
      'dtype': _NAMES[array.dtype],
      'shape': list(array.shape),
      'data_offsets': [start, end],
    }
  text = json.dumps(header).encode()
  text += b' ' * (-len(text) % 8)
  with paths.replacing(path) as temporary, temporary.open('wb') as file:
    file.write(len(text).to_bytes(8, 'little') + text)
    for name in names:
      file.write(arrays[name].tobytes())


def read(
  path: str | os.PathLike,
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
  """Reads all arrays of a file, and its metadata.

  Args:
    path: the file.

  Raises:
    ValueError: if the header is damaged; see `read_entries`.
    OSError: if the file cannot be read.
  """
  with paths.make(path).open('rb') as file:
    entries = read_entries(file)
    arrays = {
      name: np.frombuffer(entry.read(file), entry.dtype).reshape(entry.shape)
      for name, entry in entries.items()
    }
    file.seek(0)
    header = _header(file.read(int.from_bytes(file.read(8), 'little')))
  return arrays, header.get(_METADATA, {})
