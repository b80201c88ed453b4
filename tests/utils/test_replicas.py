"""Laws of sums over replicas: eight of them, or one device alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vq_jax.utils import replicas

X = np.random.default_rng(0).normal(size=(8, 3, 2)).astype(np.float32)


def over_replicas(function, x=X):
  return jax.pmap(lambda x: function(x, 'batch'), 'batch')(x)


@pytest.mark.parametrize(
  ('function', 'want'),
  [
    (replicas.psum, X.sum(axis=0)),
    (replicas.pmean, X.mean(axis=0)),
    (replicas.all_gather, X.reshape(24, 2)),
  ],
)
def test_every_replica_sees_all_and_one_device_only_itself(function, want):
  got = over_replicas(function)
  for replica in got:
    np.testing.assert_allclose(replica, want, atol=1e-6)
  np.testing.assert_array_equal(function(X[0], None), X[0])


def test_trees_are_summed_leaf_by_leaf():
  got = over_replicas(lambda x, axis: replicas.psum({'a': x, 'b': 1}, axis))
  np.testing.assert_allclose(got['a'][0], X.sum(axis=0), atol=1e-6)
  np.testing.assert_array_equal(got['b'], np.full(8, 8))


@pytest.mark.parametrize('dtype', [np.float32, np.int32])
@pytest.mark.parametrize('shape', [(8, 3), (8, 3, 2), (8, 3, 2, 2)])
def test_rows_are_those_of_the_whole(shape, dtype):
  """In any order, repeated, the first and the last; to the bit."""
  x = (100 * np.random.default_rng(1).normal(size=shape)).astype(dtype)
  rows = jnp.array([23, 0, 5, 5, 11, 12, 2])
  got = over_replicas(lambda x, axis: replicas.take_rows(x, rows, axis), x)
  want = x.reshape(24, *shape[2:])[np.asarray(rows)]
  for replica in got:
    np.testing.assert_array_equal(replica, want)
  np.testing.assert_array_equal(
    replicas.take_rows(jnp.asarray(x.reshape(24, *shape[2:])), rows, None), want
  )


def test_each_row_has_the_key_of_its_global_position():
  key = jax.random.key(0)
  got = jax.pmap(
    lambda _: jax.random.key_data(replicas.row_keys(key, 3, 'batch')), 'batch'
  )(jnp.zeros(8))
  want = jax.random.key_data(replicas.row_keys(key, 24, None))
  np.testing.assert_array_equal(got.reshape(24, -1), want)
  assert len(np.unique(want, axis=0)) == 24
