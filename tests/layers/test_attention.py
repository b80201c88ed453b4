"""Self-attention equals Flax's, and formulas for what Flax lacks."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.utils.variables import random_variables
from train.planning import flops
from vq_jax.layers import attention
from vq_jax.layers import dropout
from vq_jax.layers.attention_cache import KVCache


def tokens(*shape):
  return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize('train', [False, True])
@pytest.mark.parametrize('shared', [False, True])
@pytest.mark.parametrize('n', [5, 129])
def test_the_variables_and_numbers_of_flax(train, shared, n, monkeypatch):
  # With the random numbers of Flax, which are twice as many.
  monkeypatch.setattr(dropout, 'keep_mask', jax.random.bernoulli)
  x = tokens(2, n, 8)
  ours = attention.SelfAttention(heads=2, dropout=0.5, broadcast_dropout=shared)
  theirs = nn.MultiHeadDotProductAttention(
    2, dropout_rate=0.5, deterministic=not train, broadcast_dropout=shared
  )
  variables = jax.jit(ours.init)(jax.random.key(0), x)
  want = jax.jit(theirs.init)(jax.random.key(0), x)
  jax.tree.map(np.testing.assert_array_equal, variables, want)
  rngs = {'dropout': jax.random.key(1)}
  got = jax.jit(lambda v: ours.apply(v, x, train=train, rngs=rngs)[0])(
    variables
  )
  expected = jax.jit(lambda v: theirs.apply(v, x, rngs=rngs))(variables)
  np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('shared', [False, True])
def test_examples_share_dropout_only_if_asked(shared):
  x = np.repeat(tokens(1, 5, 8), 2, axis=0)
  layer = attention.SelfAttention(
    heads=2, dropout=0.5, broadcast_dropout=shared
  )
  variables = random_variables(layer, x)
  rngs = {'dropout': jax.random.key(1)}
  first, second = jax.jit(
    lambda v: layer.apply(v, x, train=True, rngs=rngs)[0]
  )(variables)
  assert np.allclose(first, second) == shared


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
  got, _ = jax.jit(layer.apply)(variables, x)
  np.testing.assert_allclose(got, want, atol=1e-5)


def test_the_width_must_divide_into_heads():
  with pytest.raises(ValueError, match='width=8 and heads=3'):
    attention.SelfAttention(heads=3).init(jax.random.key(0), tokens(1, 2, 8))


@pytest.mark.parametrize(
  'fields',
  [
    {},
    {'qk_norm': 'head', 'qkv_bias': False, 'out_bias': False},
    {'qk_norm': 'width', 'head_dim': 4},
  ],
)
def test_token_by_token_with_a_cache_is_the_causal_pass(fields):
  layer = attention.SelfAttention(heads=2, causal=True, **fields)
  x = tokens(3, 5, 8)
  angles = tokens(5, 2)
  variables = random_variables(layer, x)
  want, nothing = jax.jit(layer.apply)(variables, x, angles=angles)
  assert nothing is None
  # What stands at later positions must not matter.
  junk = np.full((3, 2, 5, 4), 1e9, np.float32)
  cache = KVCache(key=junk, value=junk)

  @jax.jit
  def step(cache, i):
    here = jax.lax.dynamic_slice_in_dim(angles, i, 1)
    token = jax.lax.dynamic_slice_in_dim(x, i, 1, axis=1)
    y, rows = layer.apply(
      variables, token, angles=here, cache=cache, position=i
    )
    return cache.write(rows, i), y

  for i in range(5):
    cache, y = step(cache, i)
    np.testing.assert_allclose(y[:, 0], want[:, i], atol=1e-5)


def test_heads_share_one_norm_of_the_whole_width():
  """A head with long vectors then makes the logits of the others small."""
  layer = attention.SelfAttention(heads=2, qk_norm='width')
  x = tokens(1, 3, 4)
  variables = random_variables(layer, x)
  assert 'query_norm' not in variables['params']
  kernel = variables['params']['query']['kernel']
  want, _ = jax.jit(layer.apply)(variables, x)
  variables['params']['query'] = {
    'kernel': 9 * kernel,
    'bias': 9 * variables['params']['query']['bias'],
  }
  got, _ = jax.jit(layer.apply)(variables, x)
  np.testing.assert_allclose(got, want, atol=1e-4)
  variables['params']['query']['kernel'] = kernel.at[:, 1].multiply(99)
  got, _ = jax.jit(layer.apply)(variables, x)
  assert np.abs(got - want).max() > 1e-3


def test_normalised_queries_and_keys_bound_the_logits():
  """For inputs of any length the ratio of two weights is at most exp(2 d)."""
  layer = attention.SelfAttention(heads=1, qk_norm='head', qkv_bias=False)
  x = tokens(1, 4, 6)
  variables = random_variables(layer, x)
  p = variables['params']
  p['query_norm']['scale'] = p['key_norm']['scale'] = jnp.ones(6)
  p['value']['kernel'] = jnp.eye(6)[:, None]
  p['out']['kernel'] = jnp.eye(6)[None]
  p['out']['bias'] = jnp.zeros(6)
  small, _ = jax.jit(layer.apply)(variables, x)
  large, _ = jax.jit(layer.apply)(variables, 1e4 * x)
  np.testing.assert_allclose(large / 1e4, small, atol=1e-3)


@pytest.mark.parametrize('causal', [False, True])
@pytest.mark.parametrize('n', [5, 130])
def test_gradients_of_attention_with_dropout(causal, n):
  """They are computed from the inputs alone, and are those of the formula."""
  query, key, value, out = tokens(4, 2, n, 2, 3)
  keep = np.random.default_rng(1).random((1, 1, n, n)) < 0.7

  def formula(query, key, value):
    logits = jnp.einsum('bnhd,bmhd->bhnm', query, key) / np.sqrt(3)
    if causal:
      logits = jnp.where(jnp.tri(n, dtype=bool)[None, None], logits, -jnp.inf)
    weights = jax.nn.softmax(logits) * keep / 0.7
    return jnp.einsum('bhnm,bmhd->bnhd', weights, value)

  def ours(*inputs):
    return attention.attend(*inputs, causal=causal, keep=keep, keep_prob=0.7)

  got, want = (
    jax.jit(lambda *x, f=f: (f(*x), jax.vjp(f, *x)[1](out)))(query, key, value)
    for f in (ours, formula)
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), got, want
  )
  saved = jax.eval_shape(lambda *x: jax.vjp(ours, *x)[1], query, key, value)
  sizes = [leaf.size for leaf in jax.tree.leaves(saved)]
  assert sum(sizes) <= 3 * query.size + keep.size


def test_causal_attention_does_not_read_what_it_would_mask():
  """Of 4 groups of queries, the last alone reads all keys: 10 of 16 blocks."""

  def count(causal):
    x = jax.ShapeDtypeStruct((2, 256, 2, 16), jnp.float32)
    attend = jax.jit(functools.partial(attention.attend, causal=causal))
    return flops.count(attend.trace(x, x, x).jaxpr.jaxpr, 'cpu')

  assert count(True) == 10 / 16 * count(False)
