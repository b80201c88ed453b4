"""Initializers have the distributions of the papers' code."""

import jax
import numpy as np
import pytest

from vq_jax.layers import initializers

K, D = 1024, 256


def table(name, shape=(K, D)):
  initializer = initializers.BY_NAME[name]
  return np.asarray(initializer(jax.random.key(0), shape), np.float64)


@pytest.mark.parametrize(
  ('name', 'bound'),
  [
    ('sonnet', 0.10825),  # sqrt(3 / D)
    ('taming', 1 / 1024),
    ('maskgit', 0.05413),  # sqrt(3 / K)
    ('xavier', 0.06847),  # sqrt(6 / (K + D))
  ],
)
def test_uniform_initializers_have_the_right_bounds(name, bound):
  sampled = table(name)
  np.testing.assert_allclose(
    [sampled.min(), sampled.max()], [-bound, bound], 1e-3
  )
  np.testing.assert_allclose(sampled.std(), bound / np.sqrt(3), rtol=1e-2)
  assert abs(sampled.mean()) < bound / 100


@pytest.mark.parametrize(
  ('name', 'stddev'),
  [('normal', 1.0), ('gpt', 0.02), ('bert', 0.0176), ('lecun', 1 / 32)],
)
def test_normal_initializers_have_the_right_deviation(name, stddev):
  np.testing.assert_allclose(table(name).std(), stddev, rtol=1e-2)


def test_only_bert_truncates_at_two_standard_deviations():
  assert np.abs(table('bert')).max() <= 0.04
  assert np.abs(table('gpt')).max() > 0.06


def test_llamagen_initializes_unit_vectors():
  sampled = table('llamagen', (K, 8))
  np.testing.assert_allclose(np.linalg.norm(sampled, axis=-1), 1, rtol=1e-6)
  assert np.abs(sampled.mean(axis=0)).max() < 0.05
  assert not table('zeros').any()
