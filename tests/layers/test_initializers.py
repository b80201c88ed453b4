"""What is drawn is what the papers' code draws."""

import jax
import numpy as np
import pytest

from vq_jax.layers import initializers

K, D = 1024, 256


def table(name, shape=(K, D)):
  draw = initializers.BY_NAME[name]
  return np.asarray(draw(jax.random.key(0), shape), np.float64)


@pytest.mark.parametrize(
  ('name', 'bound'),
  [
    ('sonnet', 0.10825),  # sqrt(3 / D)
    ('taming', 1 / 1024),
    ('maskgit', 0.05413),  # sqrt(3 / K)
    ('xavier', 0.06847),  # sqrt(6 / (K + D))
  ],
)
def test_the_uniform_ones_have_their_bounds(name, bound):
  drawn = table(name)
  np.testing.assert_allclose([drawn.min(), drawn.max()], [-bound, bound], 1e-3)
  np.testing.assert_allclose(drawn.std(), bound / np.sqrt(3), rtol=1e-2)
  assert abs(drawn.mean()) < bound / 100


@pytest.mark.parametrize(
  ('name', 'stddev'),
  [('normal', 1.0), ('gpt', 0.02), ('bert', 0.0176), ('lecun', 1 / 32)],
)
def test_the_normal_ones_have_their_spread(name, stddev):
  np.testing.assert_allclose(table(name).std(), stddev, rtol=1e-2)


def test_only_bert_is_cut_at_two_standard_deviations():
  assert np.abs(table('bert')).max() <= 0.04
  assert np.abs(table('gpt')).max() > 0.06


def test_llamagen_draws_directions():
  drawn = table('llamagen', (K, 8))
  np.testing.assert_allclose(np.linalg.norm(drawn, axis=-1), 1, rtol=1e-6)
  assert np.abs(drawn.mean(axis=0)).max() < 0.05
  assert not table('zeros').any()
