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
      for place in (column, row):
        angles = [place / 10000 ** (i / 3) for i in range(3)]
        want += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
      np.testing.assert_allclose(table[row * grid[1] + column], want, atol=1e-6)


def test_no_two_places_look_the_same():
  table = positions.sincos_2d((16, 24), 8)
  distances = np.abs(table[:, None] - table[None]).max(-1)
  assert distances[~np.eye(len(table), dtype=bool)].min() > 1e-3


@pytest.mark.parametrize('width', [0, 6, 9])
def test_the_width_holds_whole_waves(width):
  with pytest.raises(ValueError, match=f'multiple of 4; got {width}'):
    positions.sincos_2d((2, 2), width)
