"""Dropout keeps what its rate says, independently for each element."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vq_jax.layers import dropout


@pytest.mark.parametrize('impl', ['threefry2x32', 'rbg'])
@pytest.mark.parametrize('length', [100, 101])
@pytest.mark.parametrize('keep_prob', [0.1, 0.5, 0.9])
def test_elements_are_kept_independently(impl, length, keep_prob):
  key = jax.random.key(3, impl=impl)
  keep = np.asarray(dropout.keep_mask(key, keep_prob, (400, length)))
  assert keep.shape == (400, length)
  deviation = (keep_prob * (1 - keep_prob) / keep.size) ** 0.5
  assert abs(keep.mean() - keep_prob) < 4 * deviation
  # Every position alone, and the two that share a random number.
  assert np.abs(keep.mean(axis=0) - keep_prob).max() < 5 * 20 * deviation / 2
  half = -(-length // 2)
  pairs = keep[:, : length - half], keep[:, half:]
  correlation = np.corrcoef(*(p.ravel() for p in pairs))[0, 1]
  assert abs(correlation) < 4 / pairs[0].size ** 0.5


@pytest.mark.parametrize('keep_prob, kept', [(0.0, 0), (1.0, 1)])
def test_the_limits_are_exact(keep_prob, kept):
  keep = dropout.keep_mask(jax.random.key(0), keep_prob, (100, 1001))
  assert (keep == bool(kept)).all()


def test_the_mean_stays_and_dropped_elements_have_no_gradient():
  layer, x = dropout.Dropout(0.25), jnp.full((64, 129), 3.0)

  def apply(x):
    return layer.apply(
      {}, x, deterministic=False, rngs={'dropout': jax.random.key(0)}
    )

  y = apply(x)
  np.testing.assert_allclose(np.unique(y), [0, 4], rtol=1e-6)
  np.testing.assert_allclose(y.mean(), 3, atol=0.1)
  slope = jax.grad(lambda x: apply(x).sum())(x)
  np.testing.assert_allclose(slope, y / 3, rtol=1e-6)


def test_no_random_numbers_are_needed_without_dropout():
  x = jnp.ones((2, 3))
  assert (dropout.Dropout(0.5, deterministic=True).apply({}, x) == x).all()
  assert (dropout.Dropout(0.0, deterministic=False).apply({}, x) == x).all()
  assert not dropout.Dropout(1.0, deterministic=False).apply({}, x).any()
