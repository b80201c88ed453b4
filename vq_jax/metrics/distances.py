"""Comparisons of the squared distances of all pairs of vectors, on the device.

A block of distances |a|^2 + |b|^2 - 2 a.b is one product of matrices in float32
on the default device. Its rounding error is at most

    (D + 16) 2^-23 (|a|^2 + |b|^2)

for vectors of D numbers, in whatever order the device adds (Higham 2002,
Accuracy and Stability of Numerical Algorithms, section 3.1), and small for
vectors that are centred. A comparison that this bound leaves open is computed
again in float64 on the host, so all results are those of float64.

For n x m pairs the device computes 2 n m D operations. With features of
networks the bound leaves about one pair for each vector open, which is of the
order of n D operations, so the host has little to do.
"""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from vq_jax.metrics import device_blocks
from vq_jax.metrics import rows as rows_lib

_PAIRS = 1024  # whose differences are in memory at once
# If more than this part of the pairs of a block is open, one product of
# matrices in float64 is faster than one difference for each pair.
_MANY = 1 / 32
_SMALLEST = 2.0**-120  # more than the numbers that a device rounds to 0

_Best = tuple[jax.Array | np.ndarray, jax.Array | np.ndarray]


def find_nearest(
  rows: rows_lib.Rows, count: int, chunk_size: int
) -> tuple[np.ndarray, np.ndarray]:
  """Finds the other vectors of a set that may be the nearest of each vector.

  Each block of distances is computed once, for its rows and for its columns.

  Args:
    rows: float [n, D].
    count: number c of vectors that are found for each.
    chunk_size: number of rows of a block.

  Returns:
    their numbers, int [n, c], with -1 where there are no more; and what the
    squared distances to all others are at least, float64 [n].
  """
  frame = device_blocks.make_frame(rows, chunk_size=chunk_size)
  best: list[_Best] = []
  for i, x in enumerate(device_blocks.blocks(rows, frame, chunk_size)):
    for j, y in enumerate(
      device_blocks.blocks(rows, frame, chunk_size, first=i), start=i
    ):
      found = _nearest_of_block(x.arrays, y.arrays, count)
      for number, new in {i: found[0], j: found[1]}.items():
        if number == len(best):
          best.append(new)
        else:
          best[number] = _merge(best[number], new)
  lower, index = (
    np.concatenate([np.asarray(pair[kind])[:chunk_size] for pair in best])
    for kind in (0, 1)
  )
  lower, index = lower[: len(rows)], index[: len(rows)]
  index = np.where(np.isfinite(lower), index, -1)
  return index, lower[:, -1].astype(np.float64) / frame.scale**2


@dataclasses.dataclass(frozen=True)
class Limits:
  """Largest squared distances that are counted.

  Attributes:
    values: float64 [n], one for each vector a, or [m], one for each b.
    axis: 0 for the former, 1 for the latter.
  """

  values: np.ndarray
  axis: int

  def select(self, rows: slice, columns: slice) -> 'Limits':
    """Returns the limits of a block."""
    return Limits(self.values[(rows, columns)[self.axis]], self.axis)

  def bounds(
    self, scale: float, x: device_blocks.Block, y: device_blocks.Block
  ) -> tuple[np.ndarray, ...]:
    """Returns a smaller and a larger limit in a frame, float32."""
    missing = len((x, y)[self.axis].moved) - len(self.values)
    near = np.pad(self.values * scale**2, (0, missing)).astype(np.float32)
    near = np.expand_dims(near, 1 - self.axis)
    return np.nextafter(near, -np.inf), np.nextafter(near, np.inf)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Counts:
  """Numbers of pairs whose squared distances are within limits.

  Attributes:
    rows: for each vector a, the number of vectors b, int [n].
    columns: for each vector b, the number of vectors a, int [m].
  """

  rows: np.ndarray
  columns: np.ndarray


def count_within(
  a: rows_lib.Rows,
  b: rows_lib.Rows,
  limits: Sequence[Limits],
  chunk_size: int,
) -> list[Counts]:
  """Counts the pairs with |a - b|^2 <= limit, for each of some limits.

  Args:
    a: float [n, D].
    b: float [m, D].
    limits: the limits.
    chunk_size: number of rows of a block.
  """
  frame = device_blocks.make_frame(a, b, chunk_size=chunk_size)
  found = [
    Counts(rows=np.zeros(len(a), int), columns=np.zeros(len(b), int))
    for _ in limits
  ]
  pending = None
  for x in device_blocks.blocks(a, frame, chunk_size):
    for y in device_blocks.blocks(b, frame, chunk_size):
      own = [t.select(x.part, y.part) for t in limits]
      scaled = [t.bounds(frame.scale, x, y) for t in own]
      compared = _compare(x.arrays, y.arrays, scaled)
      # The device computes this block while the previous one is counted.
      if pending is not None:
        _add(found, *pending)
      pending = a, b, x.part, y.part, own, compared
  if pending is not None:
    _add(found, *pending)
  return found


def of_pairs(
  a: rows_lib.Rows, b: rows_lib.Rows, i: np.ndarray, j: np.ndarray
) -> np.ndarray:
  """Returns |a_i - b_j|^2 of pairs, from their differences.

  Args:
    a: float [n, D].
    b: float [m, D].
    i: numbers of vectors of a, int [p].
    j: numbers of vectors of b, int [p].

  Returns:
    float64 [p].
  """
  found = np.empty(len(i))
  for start in range(0, len(i), _PAIRS):
    part = slice(start, start + _PAIRS)
    x, y = np.asarray(a[i[part]]), np.asarray(b[j[part]])
    difference = np.subtract(x, y, dtype=np.float64)
    found[part] = np.square(difference).sum(axis=1)
  return found


def _add(
  found: Sequence[Counts],
  a: rows_lib.Rows,
  b: rows_lib.Rows,
  rows: slice,
  columns: slice,
  limits: Sequence[Limits],
  compared: Sequence[tuple[jax.Array, ...]],
) -> None:
  """Adds the pairs of a block to the counts, also those that are open."""
  shape = rows.stop - rows.start, columns.stop - columns.start
  for counts, limit, block in zip(found, limits, compared, strict=True):
    in_row, in_column, count, unclear = block
    counts.rows[rows] += np.asarray(in_row)[: shape[0]]
    counts.columns[columns] += np.asarray(in_column)[: shape[1]]
    if not count:
      continue
    i, j = np.nonzero(np.asarray(unclear))
    if count > _MANY * shape[0] * shape[1]:
      x, y = (rows_lib.to_float64(z) for z in (a[rows], b[columns]))
      exact = rows_lib.squared_distances(x, y)[i, j]
    else:
      exact = of_pairs(a, b, i + rows.start, j + columns.start)
    inside = exact <= limit.values[(i, j)[limit.axis]]
    counts.rows[rows] += np.bincount(i[inside], minlength=shape[0])
    counts.columns[columns] += np.bincount(j[inside], minlength=shape[1])


def _bounds(x, y) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
  """Returns bounds of the distances of a block.

  Args:
    x: `device_blocks.Block.arrays`.
    y: the same.

  Returns:
    the smallest and the largest possible distances [size, size]; and the
    numbers of the vectors x, [size, 1], and y, [1, size], with -1 for those
    that there are not.
  """
  (rows, row_norms, _), (columns, column_norms, _) = x, y
  norms = row_norms[:, None] + column_norms[None]
  width = rows.shape[1]
  error = (width + 16) * 2.0**-23 * norms + width * _SMALLEST
  dots = jnp.matmul(rows, columns.T, precision=jax.lax.Precision.HIGHEST)
  lower, upper = norms - error - 2 * dots, norms + error - 2 * dots
  return lower, upper, _numbers(x)[:, None], _numbers(y)[None]


def _numbers(x) -> jax.Array:
  moved, _, (start, stop) = x
  numbers = start + jnp.arange(len(moved), dtype=jnp.int32)
  return jnp.where(numbers < stop, numbers, -1)


@functools.partial(jax.jit, static_argnums=2)
def _nearest_of_block(x, y, count: int):
  """Returns the nearest vectors y of each x, and x of each y.

  Returns:
    two pairs: the smallest possible distances, float32 [size, count], in
    ascending order, and the numbers of the vectors.
  """
  lower, _, rows, columns = _bounds(x, y)
  others = (rows >= 0) & (columns >= 0) & (rows != columns)
  lower = jnp.where(others, lower, jnp.inf)
  return (
    _smallest(lower, jnp.broadcast_to(columns, lower.shape), count),
    _smallest(lower.T, jnp.broadcast_to(rows.T, lower.T.shape), count),
  )


@jax.jit
def _merge(old, new):
  lower, numbers = (
    jnp.concatenate(pair, axis=1) for pair in zip(old, new, strict=True)
  )
  return _smallest(lower, numbers, old[0].shape[1])


def _smallest(lower, numbers, count: int):
  """Returns the `count` smallest of each row; infinity where there are none."""
  missing = max(count - lower.shape[1], 0)
  lower = jnp.pad(lower, ((0, 0), (0, missing)), constant_values=jnp.inf)
  numbers = jnp.pad(numbers, ((0, 0), (0, missing)))
  negative, at = jax.lax.top_k(-lower, count)
  return -negative, jnp.take_along_axis(numbers, at, axis=1)


@jax.jit
def _compare(x, y, limits):
  """Compares the distances of a block with limits, as far as they are clear.

  Returns:
    for each limit the number of pairs that are surely within it, of each x and
    of each y; the number of pairs that are open; and which these are.
  """
  lower, upper, rows, columns = _bounds(x, y)
  valid = (rows >= 0) & (columns >= 0)
  found = []
  for smaller, larger in limits:
    inside = (upper <= smaller) & valid
    unclear = (lower <= larger) & valid & ~inside
    found.append((inside.sum(1), inside.sum(0), unclear.sum(), unclear))
  return found
