"""Dropout keeps what its rate says, independently for each element."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec

from vq_jax.layers import dropout


@pytest.mark.parametrize('impl', ['threefry2x32', 'rbg'])
@pytest.mark.parametrize(
  'shape', [(400, 100), (400, 101), (100, 5, 81), (40401,)]
)
@pytest.mark.parametrize('keep_prob', [0.1, 0.5, 0.9])
def test_elements_are_kept_independently(impl, shape, keep_prob):
  key = jax.random.key(3, impl=impl)
  keep = np.asarray(dropout.keep_mask(key, keep_prob, shape))
  assert keep.shape == shape
  variance = keep_prob * (1 - keep_prob)
  keep = (keep - keep_prob) / variance**0.5  # mean 0 and variance 1
  for axis in range(len(shape)):
    means = keep.mean(axis)
    assert np.abs(means).max() < 5.5 * (means.size / keep.size) ** 0.5
    # Two elements that share random bits lie half an axis apart, or less.
    half = -(-shape[axis] // 2)
    for apart in {1, half - 1, half, half + 1, half // 2, -(-half // 2)}:
      if 0 < apart < shape[axis]:
        before, after = (
          np.take(keep, range(*bounds), axis)
          for bounds in ((shape[axis] - apart,), (apart, shape[axis]))
        )
        covariance = (before * after).mean()
        assert abs(covariance) < 5 / before.size**0.5, (axis, apart)


@pytest.mark.parametrize('impl', ['threefry2x32', 'rbg'])
def test_another_key_gives_another_mask(impl):
  keys = jax.random.split(jax.random.key(0, impl=impl), 2)
  one, two = (dropout.keep_mask(key, 0.5, (64, 7, 64)) for key in keys)
  assert abs(float((one == two).mean()) - 0.5) < 0.02


def test_keys_of_both_kinds_give_the_same_mask():
  masks = [
    dropout.keep_mask(key(7), 0.5, (8, 9))
    for key in (jax.random.key, jax.random.PRNGKey)
  ]
  np.testing.assert_array_equal(*masks)


def test_devices_compute_their_parts_of_a_mask_alone():
  mesh = jax.make_mesh((8,), ('data',), (AxisType.Auto,))
  split = NamedSharding(mesh, PartitionSpec('data'))

  def make(key):
    return dropout.keep_mask(key, 0.5, (16, 9, 10))

  compiled = (
    jax.jit(make, out_shardings=split).lower(jax.random.key(1)).compile()
  )
  # No exchange, and no array of all 16 rows.
  assert not re.search(r'all-|permute|\[16,', compiled.as_text())
  np.testing.assert_array_equal(
    compiled(jax.random.key(1)), make(jax.random.key(1))
  )


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
