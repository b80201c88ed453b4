"""Comparisons of distances in float32 are those of float64."""

import numpy as np
import pytest

from vq_jax.metrics import distances
from vq_jax.metrics import neighbours

CHUNK = 16  # of all tests, so that few programs are compiled


def exact(a, b):
  a, b = a.astype(np.float64), b.astype(np.float64)
  return np.square(a[:, None] - b[None]).sum(-1)


def count(a, b, limits):
  return distances.count_within(a, b, limits, CHUNK)


@pytest.fixture
def sets():
  """Vectors far from the origin, of which float32 loses most digits."""
  rng = np.random.default_rng(0)
  a, b = rng.normal(size=(37, 5)), rng.normal(size=(21, 5))
  return (a + 100).astype(np.float32), (b + 100).astype(np.float32)


@pytest.mark.parametrize('change', [-1e-9, 0, 1e-9])
def test_limits_that_differ_by_less_than_float32_decide(sets, change):
  a, b = sets
  squared = exact(a, b)
  of_a = np.sort(squared, axis=1)[:, 10] * (1 + change)
  of_b = squared.max(axis=0) * (1 + change)
  found = count(a, b, [distances.Limits(of_a, 0), distances.Limits(of_b, 1)])
  for counts, limit in zip(found, (of_a[:, None], of_b[None]), strict=True):
    inside = squared <= limit
    np.testing.assert_array_equal(counts.rows, inside.sum(1))
    np.testing.assert_array_equal(counts.columns, inside.sum(0))
  assert (
    found[0].rows.min() == found[0].rows.max() == (10 if change < 0 else 11)
  )


@pytest.mark.parametrize('scale', [1e-30, 1.0, 1e30])
def test_what_is_not_found_is_not_nearer(sets, scale):
  a = sets[0].astype(np.float64) * scale
  index, beyond = distances.find_nearest(a, 4, CHUNK)
  squared = exact(a, a)
  np.fill_diagonal(squared, np.inf)
  for row, found, bound in zip(squared, index, beyond, strict=True):
    assert len(set(found)) == 4
    assert np.delete(row, found).min() >= bound > 0.9 * np.sort(row)[3]


def test_a_set_of_few_vectors_has_few_neighbours(sets):
  index, beyond = distances.find_nearest(sets[0][:3], 4, CHUNK)
  assert (np.sort(index)[:, :2] == -1).all() and np.isinf(beyond).all()
  np.testing.assert_array_equal(np.sort(index)[:, 2:], [[1, 2], [0, 2], [0, 1]])


def test_radii_of_many_equal_distances():
  """The candidates do not suffice for repeated vectors and for a grid."""
  rng = np.random.default_rng(0)
  repeated = rng.normal(size=(4, 5)).repeat(20, axis=0)
  grid = rng.integers(0, 2, (80, 5)).astype(np.float64)
  for x in (repeated, grid):
    squared = exact(x, x)
    np.fill_diagonal(squared, np.inf)
    expected = np.sort(squared, axis=1)
    for k in (1, 3):
      found = neighbours.radii(x, k, CHUNK)
      np.testing.assert_allclose(found, expected[:, k - 1], rtol=1e-12)
  assert not neighbours.radii(repeated, 3, CHUNK).any()


def test_blocks_that_are_open_as_a_whole():
  x = np.ones((20, 5), np.float32)
  for limit, expected in ((0.0, 20), (np.nextafter(0.0, -1), 0)):
    (found,) = count(x, x, [distances.Limits(np.full(20, limit), 0)])
    assert (found.rows == expected).all() and (found.columns == expected).all()
