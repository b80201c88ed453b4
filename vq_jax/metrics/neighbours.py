"""Metrics of fidelity and diversity by nearest neighbours.

A set of vectors is described by a ball around each of them, whose radius is the
distance to the k-th nearest other vector of the set.
"""

from collections.abc import Iterator

import numpy as np

from vq_jax.metrics import rows as rows_lib
from vq_jax.utils import fields

# Distances that differ by less are equal: they come from sums in other orders.
_TIES = 1e-9


@fields.checked
def precision_recall(
  reference: rows_lib.Rows,
  generated: rows_lib.Rows,
  *,
  neighbours: fields.PositiveInt = 3,
  chunk_size: fields.PositiveInt = rows_lib.CHUNK,
) -> tuple[float, float]:
  """Returns improved precision and recall (Kynkaanniemi et al. 2019).

  Precision is the fraction of generated vectors that lie in at least one ball
  of the reference; recall is the fraction of reference vectors that lie in at
  least one ball of the generated set. https://arxiv.org/abs/1904.06991.

  Args:
    reference: features of real images, float [n, D].
    generated: features of generated images, float [m, D].
    neighbours: k, which defines the radii.
    chunk_size: number of rows that are kept in memory.

  Returns:
    precision and recall, in [0, 1].

  Raises:
    ValueError: if a set has no more than k vectors, or the widths differ.

  Example:
    >>> import numpy as np
    >>> from vq_jax import metrics
    >>> reference = np.arange(10.0)[:, None]
    >>> generated = np.full((10, 1), 4.5)
    >>> metrics.neighbours.precision_recall(reference, generated)
    (1.0, 0.0)
  """
  _check(reference, generated, neighbours)
  precision = _fraction_inside(reference, generated, neighbours, chunk_size)
  recall = _fraction_inside(generated, reference, neighbours, chunk_size)
  return precision, recall


@fields.checked
def density_coverage(
  reference: rows_lib.Rows,
  generated: rows_lib.Rows,
  *,
  neighbours: fields.PositiveInt = 5,
  chunk_size: fields.PositiveInt = rows_lib.CHUNK,
) -> tuple[float, float]:
  """Returns density and coverage (Naeem et al. 2020).

  Density is the mean number of balls of the reference that contain a generated
  vector, divided by k; coverage is the fraction of balls of the reference that
  contain at least one generated vector. https://arxiv.org/abs/2002.09797.

  Args:
    reference: features of real images, float [n, D].
    generated: features of generated images, float [m, D].
    neighbours: k, which defines the radii.
    chunk_size: number of rows that are kept in memory.

  Returns:
    density, at least 0 and 1 for equal distributions; and coverage, in [0, 1].

  Raises:
    ValueError: if a set has no more than k vectors, or the widths differ.

  Example:
    >>> import numpy as np
    >>> from vq_jax import metrics
    >>> x = np.random.default_rng(0).normal(size=(20, 3))
    >>> metrics.neighbours.density_coverage(x, x)
    (1.0, 1.0)
  """
  _check(reference, generated, neighbours)
  balls, covered = 0, np.zeros(len(reference), bool)
  for rows, _, distances, squared_radii in _blocks(
    reference, generated, neighbours, chunk_size
  ):
    inside = distances < squared_radii * (1 - _TIES)
    balls += int(np.count_nonzero(inside))
    covered[rows] |= inside.any(axis=1)
  density = balls / (neighbours * len(generated))
  return float(density), float(covered.mean())


def radii(
  features: rows_lib.Rows, neighbours: int, chunk_size: int = rows_lib.CHUNK
) -> np.ndarray:
  """Returns the squared distance of each vector to its k-th nearest other one.

  Args:
    features: float [n, D], n > k.
    neighbours: k.
    chunk_size: number of rows that are kept in memory.

  Returns:
    float64 [n].
  """
  found = []
  for i, x in enumerate(rows_lib.chunks(features, chunk_size)):
    nearest = np.empty((len(x), 0))
    for j, y in enumerate(rows_lib.chunks(features, chunk_size)):
      distances = rows_lib.squared_distances(x, y)
      if i == j:
        np.fill_diagonal(distances, np.inf)  # of each vector to itself
      nearest = np.concatenate([nearest, distances], axis=1)
      if nearest.shape[1] > neighbours:
        nearest = np.partition(nearest, neighbours - 1, axis=1)
        nearest = nearest[:, :neighbours]
    found.append(nearest.max(axis=1))
  return np.concatenate(found)


def _check(
  reference: rows_lib.Rows, generated: rows_lib.Rows, neighbours: int
) -> None:
  rows_lib.check_pair(reference, generated, least=neighbours + 1)


def _fraction_inside(
  centres: rows_lib.Rows,
  points: rows_lib.Rows,
  neighbours: int,
  chunk_size: int,
) -> float:
  """Returns the fraction of points that lie in a ball around a centre."""
  inside = np.zeros(len(points), bool)
  for _, columns, distances, squared_radii in _blocks(
    centres, points, neighbours, chunk_size
  ):
    contained = distances <= squared_radii * (1 + _TIES)
    inside[columns] |= contained.any(axis=0)
  return float(inside.mean())


def _blocks(
  centres: rows_lib.Rows,
  points: rows_lib.Rows,
  neighbours: int,
  chunk_size: int,
) -> Iterator[tuple[slice, slice, np.ndarray, np.ndarray]]:
  """Yields the distances of all pairs in blocks.

  Yields:
    the centres and the points of the block, their squared distances [r, c], and
    the squared radii of the centres [r, 1].
  """
  squared_radii = np.expand_dims(radii(centres, neighbours, chunk_size), 1)
  row = 0
  for x in rows_lib.chunks(centres, chunk_size):
    rows, column = slice(row, row + len(x)), 0
    for y in rows_lib.chunks(points, chunk_size):
      columns = slice(column, column + len(y))
      distances = rows_lib.squared_distances(x, y)
      yield rows, columns, distances, squared_radii[rows]
      column += len(y)
    row += len(x)
