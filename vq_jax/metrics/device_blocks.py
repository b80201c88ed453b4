"""Vectors in blocks of one size, as the device takes them."""

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np

from vq_jax.metrics import rows as rows_lib

_LEAST_BLOCK = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Frame:
  """How vectors are moved, so that float32 loses as little as possible.

  Attributes:
    centre: the mean of all vectors, float64 [D].
    scale: a power of two that brings all numbers into [-1, 1].
  """

  centre: np.ndarray
  scale: float

  def move(self, rows: np.ndarray) -> np.ndarray:
    """Returns (rows - centre) * scale, float32, with one rounding or two."""
    dtype = np.promote_types(rows.dtype, np.float32)
    moved = rows.astype(dtype, copy=False) - self.centre.astype(dtype)
    return (moved * dtype.type(self.scale)).astype(np.float32, copy=False)


def make_frame(*sets: rows_lib.Rows, chunk_size: int) -> Frame:
  """Returns the frame of some sets of vectors, in one pass over them.

  Raises:
    ValueError: if a vector is not finite.
  """
  count, largest = sum(map(len, sets)), 0.0
  centre = np.zeros(sets[0].shape[1])
  for rows in sets:
    for chunk in rows_lib.chunks(rows, chunk_size):
      centre += chunk.sum(axis=0) / count
      largest = max(largest, float(np.abs(chunk).max()))
  _, exponent = np.frexp(largest + float(np.abs(centre).max()))
  exponent = int(np.clip(exponent, -100, 500))  # so that its square is finite
  return Frame(centre=centre, scale=2.0**-exponent)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Block:
  """Some vectors of a set, as the device takes them.

  Attributes:
    part: which vectors of the set they are.
    moved: the vectors in a frame, float32 [size, D], with zeros at the end if
      there are fewer.
  """

  part: slice
  moved: np.ndarray

  @property
  def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The arguments of a program: `moved`, `norms` and `bounds`."""
    return self.moved, self.norms, self.bounds

  @property
  def bounds(self) -> np.ndarray:
    """The first number and the one after the last, int32 [2]."""
    return np.array([self.part.start, self.part.stop], np.int32)

  @functools.cached_property
  def norms(self) -> np.ndarray:
    """|x|^2 of all vectors, float32 [size].

    As a part of the program for a block, XLA computes them for each element of
    the block, and the program takes twice as long on a CPU.
    """
    return np.einsum('nd,nd->n', self.moved, self.moved)


def blocks(
  rows: rows_lib.Rows, frame: Frame, size: int, first: int = 0
) -> Iterator[Block]:
  """Yields vectors in blocks of one size, so that one program is compiled.

  The size of a single block is a power of two.

  Args:
    rows: float [n, D].
    frame: where they are moved.
    size: largest number of vectors of a block.
    first: number of the first block.
  """
  padded = max(_LEAST_BLOCK, min(size, 1 << (len(rows) - 1).bit_length()))
  for start in range(first * size, len(rows), size):
    part = slice(start, min(start + size, len(rows)))
    moved = np.zeros((padded, rows.shape[1]), np.float32)
    moved[: part.stop - start] = frame.move(rows[part])
    yield Block(part=part, moved=moved)
