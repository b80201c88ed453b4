"""Positions against their definition."""

import math

import numpy as np
import pytest

from vq_jax.layers import positions


@pytest.mark.parametrize('grid', [(1, 1), (3, 2), (2, 5)])
def test_each_number_by_its_definition(grid):
  width = 12
  table = positions.sincos_2d(grid, width)
  assert table.dtype == np.float32
  assert table.shape == (grid[0] * grid[1], width)
  for row in range(grid[0]):
    for column in range(grid[1]):
      want = []
      for position in (column, row):
        angles = [position / 10000 ** (i / 3) for i in range(3)]
        want += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
      np.testing.assert_allclose(table[row * grid[1] + column], want, atol=1e-6)


def test_no_two_positions_have_the_same_embedding():
  table = positions.sincos_2d((16, 24), 8)
  distances = np.abs(table[:, None] - table[None]).max(-1)
  assert distances[~np.eye(len(table), dtype=bool)].min() > 1e-3


@pytest.mark.parametrize('width', [0, 6, 9])
def test_the_width_holds_whole_waves(width):
  with pytest.raises(ValueError, match=f'multiple of 4.*; got {width}'):
    positions.sincos_2d((2, 2), width)


def test_rotated_dot_products_depend_on_relative_positions_only():
  """In rows and in columns; the length of a vector stays."""
  grid, width = (3, 4), 8
  angles = positions.rope_2d(grid, width)
  rng = np.random.default_rng(0)
  query, key = rng.normal(size=(2, width)).astype(np.float32)

  def everywhere(vector):
    x = np.broadcast_to(vector, (1, 12, 1, width))
    return np.asarray(positions.rotate(x, angles))[0, :, 0].reshape(3, 4, -1)

  turned = everywhere(query)
  np.testing.assert_allclose(
    np.linalg.norm(turned, axis=-1), np.linalg.norm(query), rtol=1e-5
  )
  products = np.einsum('ijd,kld->ijkl', turned, everywhere(key))
  np.testing.assert_allclose(
    products[0, 1, 1, 3], products[1, 0, 2, 2], atol=1e-5
  )
  np.testing.assert_allclose(products[0, 0, 0, 0], query @ key, atol=1e-5)
  assert abs(products[0, 0, 0, 1] - products[0, 0, 1, 0]) > 1e-2


@pytest.mark.parametrize('width', [0, 6, 9])
def test_the_width_of_a_head_holds_whole_pairs(width):
  with pytest.raises(ValueError, match=f'multiple of 4.*; got {width}'):
    positions.rope_2d((2, 2), width)
