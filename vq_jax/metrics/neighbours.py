"""Metrics of fidelity and diversity by nearest neighbours.

A set of vectors is described by a ball around each of them, whose radius is the
distance to the k-th nearest other vector of the set.
"""

import numpy as np

from vq_jax.metrics import distances
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
  limits = [
    distances.Limits(radii(rows, neighbours, chunk_size) * (1 + _TIES), axis)
    for axis, rows in enumerate((reference, generated))
  ]
  of_reference, of_generated = distances.count_within(
    reference, generated, limits, chunk_size
  )
  precision = (of_reference.columns > 0).mean()
  return float(precision), float((of_generated.rows > 0).mean())


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
  squared_radii = radii(reference, neighbours, chunk_size)
  limits = np.nextafter(squared_radii * (1 - _TIES), -np.inf)
  (counts,) = distances.count_within(
    reference, generated, [distances.Limits(limits, 0)], chunk_size
  )
  density = counts.rows.sum() / (neighbours * len(generated))
  return float(density), float((counts.rows > 0).mean())


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
  candidates, beyond = distances.find_nearest(
    features, 2 * neighbours + 2, chunk_size
  )
  found = _nearest_of(
    features, np.arange(len(features)), candidates, neighbours
  )
  # Vectors with many others at almost one distance, such as repeated images.
  unclear = np.flatnonzero(found > beyond)
  for start in range(0, len(unclear), chunk_size):
    part = unclear[start : start + chunk_size]
    candidates = _nearest_in_float64(features, part, neighbours, chunk_size)
    found[part] = _nearest_of(features, part, candidates, neighbours)
  return found


def _nearest_of(
  features: rows_lib.Rows,
  index: np.ndarray,
  candidates: np.ndarray,
  neighbours: int,
) -> np.ndarray:
  """Returns the k-th smallest squared distance to candidates.

  Args:
    features: float [n, D].
    index: numbers of vectors, int [m].
    candidates: numbers of others, int [m, c]; those below 0 are none.
    neighbours: k.

  Returns:
    float64 [m].
  """
  found = np.full(candidates.shape, np.inf)
  rows, columns = np.nonzero(candidates >= 0)
  found[rows, columns] = distances.of_pairs(
    features, features, index[rows], candidates[rows, columns]
  )
  return np.partition(found, neighbours - 1, axis=1)[:, neighbours - 1]


def _nearest_in_float64(
  features: rows_lib.Rows, index: np.ndarray, neighbours: int, chunk_size: int
) -> np.ndarray:
  """Returns the numbers of the k nearest others of some vectors, [m, k]."""
  x, start = rows_lib.to_float64(features[index]), 0
  nearest = np.empty((len(index), 0))
  numbers = np.empty((len(index), 0), int)
  for y in rows_lib.chunks(features, chunk_size):
    others = np.arange(start, start + len(y))
    squared = rows_lib.squared_distances(x, y)
    squared[index[:, None] == others] = np.inf
    nearest = np.concatenate([nearest, squared], axis=1)
    others = np.broadcast_to(others, squared.shape)
    numbers = np.concatenate([numbers, others], axis=1)
    best = np.argsort(nearest, axis=1)[:, :neighbours]
    nearest = np.take_along_axis(nearest, best, axis=1)
    numbers = np.take_along_axis(numbers, best, axis=1)
    start += len(y)
  return numbers


def _check(
  reference: rows_lib.Rows, generated: rows_lib.Rows, neighbours: int
) -> None:
  rows_lib.check_pair(reference, generated, least=neighbours + 1)
