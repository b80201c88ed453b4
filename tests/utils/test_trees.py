"""Laws of functions over trees."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vq_jax.utils import trees


def tree(offset=0.0):
  return {
    'params': {
      'encoder': {'kernel': np.ones((2, 3)) + offset, 'bias': np.zeros(3)},
      'decoder': {'kernel': np.ones((3, 2)) + offset},
    },
    'codebook': {'updates': np.zeros((), np.int32)},
  }


def test_ema_by_hand_over_three_steps():
  average = want = {'a': jnp.array([1.0, -2.0]), 'b': {'c': jnp.float32(0)}}
  for i in range(3):
    value = jax.tree.map(lambda x, i=i: 3 * x + i, average)
    average = trees.ema(average, value, 0.9)
    want = jax.tree.map(lambda a, v: 0.9 * a + 0.1 * v, want, value)
    for a, b in zip(*map(jax.tree.leaves, (average, want)), strict=True):
      np.testing.assert_allclose(a, b, rtol=1e-5)


def test_ema_at_its_ends_and_at_rest():
  old, new = {'a': jnp.array([0.1, 7.0])}, {'a': jnp.array([0.3, -5.0])}
  np.testing.assert_array_equal(trees.ema(old, new, 1.0)['a'], old['a'])
  np.testing.assert_allclose(trees.ema(old, new, 0.0)['a'], new['a'], rtol=1e-6)
  # Half precision or not, an average of equal values never drifts.
  np.testing.assert_array_equal(trees.ema(old, old, 0.999)['a'], old['a'])


def test_count_is_of_scalars():
  assert trees.count(tree()) == 6 + 3 + 6 + 1
  assert trees.count(jax.eval_shape(lambda: jnp.zeros((5, 7)))) == 35
  assert trees.count({}) == 0


def test_unflatten_undoes_flatten():
  flat = trees.flatten(tree())
  assert sorted(flat) == [
    'codebook/updates',
    'params/decoder/kernel',
    'params/encoder/bias',
    'params/encoder/kernel',
  ]
  assert flat['params/encoder/bias'].shape == (3,)
  jax.tree.map(np.testing.assert_array_equal, trees.unflatten(flat), tree())


def test_merge_takes_the_loaded_leaves():
  merged = trees.merge_strict(tree(), tree(5))
  jax.tree.map(np.testing.assert_array_equal, merged, tree(5))


def test_merge_fits_shapes_as_well_as_arrays():
  merged = trees.merge_strict(jax.eval_shape(tree), tree(5))
  jax.tree.map(np.testing.assert_array_equal, merged, tree(5))


def test_merge_lists_every_difference_at_once():
  loaded = tree()
  del loaded['params']['encoder']['bias']
  loaded['params']['head'] = {'kernel': np.zeros(1)}
  loaded['params']['decoder']['kernel'] = np.zeros((4, 2))
  with pytest.raises(ValueError) as error:
    trees.merge_strict(tree(), loaded, source='weights.npz')
  message = str(error.value)
  assert message.startswith('weights.npz does not fit')
  assert message.splitlines()[1:] == [
    '  - params/encoder/bias',
    '  + params/head/kernel',
    '  ! params/decoder/kernel: (3, 2) here, (4, 2) there',
  ]


def test_kept_leaves_stay_whatever_was_loaded():
  loaded = tree(5)
  loaded['params']['decoder'] = {'other': np.zeros(9)}
  merged = trees.merge_strict(tree(), loaded, keep=['params/decoder'])
  assert set(merged['params']['decoder']) == {'kernel'}
  np.testing.assert_array_equal(
    merged['params']['decoder']['kernel'], tree()['params']['decoder']['kernel']
  )
  np.testing.assert_array_equal(merged['params']['encoder']['kernel'], 6)


def test_a_kept_prefix_is_a_path_and_not_letters():
  """'params/enc' keeps nothing; a slash at the end makes no difference."""
  for keep, kept in [
    ('params/enc', False),
    ('params/encoder/', True),
    ('params/encoder', True),
    ('params/encoder/kernel', True),
  ]:
    merged = trees.merge_strict(tree(), tree(5), keep=[keep])
    kernel = merged['params']['encoder']['kernel'][0, 0]
    assert kernel == (1 if kept else 6), keep
