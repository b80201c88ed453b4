"""Arrays in chunks, so that sets larger than memory can be read."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np

CHUNK = 2048  # vectors that are kept in memory in float64


class Rows(Protocol):
  """Vectors [n, D], or images: an array, or files that are indexed like one.

  Attributes:
    shape: (n, D), or that of images.
  """

  shape: tuple[int, ...]

  @property
  def dtype(self) -> np.dtype:
    """The type of the elements."""

  def __len__(self) -> int:
    """Returns n."""

  def __getitem__(self, index: slice | np.ndarray) -> np.ndarray:
    """Returns vectors [m, D], by a slice or by integers [m]."""


def check(rows: Rows, *, least: int = 1, name: str = 'features') -> None:
  """Checks the shape of vectors.

  Args:
    rows: the vectors.
    least: smallest number of vectors.
    name: what they are, for the error.

  Raises:
    ValueError: if they are not [n, D] with D >= 1, or too few.
  """
  if len(rows.shape) != 2 or not rows.shape[1]:
    raise ValueError(
      f'{name} must be [n, D] with n >= {least}; got {tuple(rows.shape)}.'
    )
  if len(rows) < least:
    raise ValueError(
      f'{name} must be [n, D] with n >= {least}; got only {len(rows)} vectors. '
      'Use more images.'
    )


def check_pair(a: Rows, b: Rows, *, least: int = 1) -> None:
  """Checks the shapes of two sets of vectors; see `check`.

  Raises:
    ValueError: if one does not pass `check`, or their widths differ.
  """
  check(a, least=least)
  check(b, least=least)
  if a.shape[1] != b.shape[1]:
    raise ValueError(
      'both sets must have the same number of features; got '
      f'{a.shape[1]} and {b.shape[1]}.'
    )


def to_float64(rows: np.ndarray) -> np.ndarray:
  """Returns vectors in float64.

  Raises:
    ValueError: if they are not finite.
  """
  rows = np.asarray(rows, np.float64)
  if not np.isfinite(rows).all():
    raise ValueError('features must be finite; got NaN or infinity.')
  return rows


def chunks(
  rows: Rows, size: int = CHUNK, order: np.ndarray | None = None
) -> Iterator[np.ndarray]:
  """Yields the vectors in chunks, in float64.

  Args:
    rows: the vectors.
    size: number of vectors of a chunk.
    order: the numbers of the vectors, in the order in which they are read; all
      in their own order by default.

  Example:
    >>> [chunk.shape for chunk in chunks(np.zeros((5, 3)), 2)]
    [(2, 3), (2, 3), (1, 3)]
  """
  count = len(rows) if order is None else len(order)
  for start in range(0, count, size):
    stop = min(start + size, count)
    part = slice(start, stop) if order is None else order[start:stop]
    yield to_float64(rows[part])


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """Returns the squared Euclidean distances of all pairs, [n, m].

  Distances below the precision of float32 features are 0, so that equal
  vectors have distance 0.

  Args:
    a: float64 [n, D].
    b: float64 [m, D].
  """
  norms = np.expand_dims(np.sum(a * a, axis=1), 1) + np.sum(b * b, axis=1)
  distances = norms - 2 * (a @ b.T)
  distances[distances < 1e-12 * norms] = 0
  return distances
