"""Self-attention against Flax's, and what Flax's cannot do by hand."""

import flax.linen as nn
import jax
import numpy as np
import pytest

from tests.utils.variables import random_variables
from vq_jax.layers import attention


def tokens(*shape):
  return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize('train', [False, True])
def test_the_variables_and_numbers_of_flax(train):
  x = tokens(2, 5, 8)
  ours = attention.SelfAttention(heads=2, dropout=0.5)
  theirs = nn.MultiHeadDotProductAttention(
    2, dropout_rate=0.5, deterministic=not train
  )
  variables = jax.jit(ours.init)(jax.random.key(0), x)
  want = jax.jit(theirs.init)(jax.random.key(0), x)
  jax.tree.map(np.testing.assert_array_equal, variables, want)
  rngs = {'dropout': jax.random.key(1)}
  got = jax.jit(lambda v: ours.apply(v, x, train=train, rngs=rngs))(variables)
  expected = jax.jit(lambda v: theirs.apply(v, x, rngs=rngs))(variables)
  np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize('heads', [1, 2])
def test_heads_of_any_width_without_biases_by_hand(heads):
  layer = attention.SelfAttention(heads=heads, head_dim=3, qkv_bias=False)
  x = tokens(2, 5, 8)
  variables = random_variables(layer, x)
  p = jax.tree.map(np.asarray, variables['params'])
  assert set(p['query']) == {'kernel'} and set(p['out']) == {'kernel', 'bias'}
  want = np.tile(p['out']['bias'], (2, 5, 1))
  for h in range(heads):
    query, key, value = (
      x @ p[name]['kernel'][:, h] for name in ('query', 'key', 'value')
    )
    weights = np.exp(query @ key.transpose(0, 2, 1) / np.sqrt(3))
    weights /= weights.sum(-1, keepdims=True)
    want += weights @ value @ p['out']['kernel'][h]
  got = jax.jit(layer.apply)(variables, x)
  np.testing.assert_allclose(got, want, atol=1e-5)


def test_the_width_must_divide_into_heads():
  with pytest.raises(ValueError, match='got 8 and 3 heads'):
    attention.SelfAttention(heads=3).init(jax.random.key(0), tokens(1, 2, 8))
