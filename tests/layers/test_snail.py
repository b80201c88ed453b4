"""Laws of PixelSNAIL's blocks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.utils.variables import random_variables
from vq_jax.layers import snail

B, N, C, HEADS = 2, 6, 8, 2


def features(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def elu(x):
  return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def dense(x, kernel, bias=0):
  return x @ kernel + bias


def test_a_gated_layer_by_its_formula():
  layer = snail.GatedLayer(C, 5, kernel=1)
  x, context = features(B, C), features(B, 3, seed=1)
  variables = random_variables(layer, x, context)
  params = jax.tree.map(np.asarray, variables['params'])
  y = dense(elu(dense(elu(x), **params['conv1'])), **params['conv2'])
  y = y + dense(context, **params['context'])
  want = x + y[:, :C] / (1 + np.exp(-y[:, C:]))
  got = jax.jit(layer.apply)(variables, x, context)
  np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize('kernel', [1, 3])
def test_a_stack_of_gated_layers_begins_near_the_identity(kernel):
  x = features(B, 4, 5, 32)
  layer = snail.GatedLayer(32, 16, kernel)
  y, _ = jax.jit(layer.init_with_output)(jax.random.key(0), x)
  assert 0 < np.square(y - x).mean() < 0.05 * np.square(x).mean()


def test_attention_by_its_formula():
  """Pixel by pixel, each to itself and those before it."""
  attention = snail.CausalAttention(HEADS)
  x, before = features(B, N, C), features(B, N, 3, seed=1)
  coordinates = snail.get_coordinates(jnp.arange(N), (2, 3))
  variables = random_variables(attention, x, before, coordinates)
  got, _ = jax.jit(attention.apply)(variables, x, before, coordinates)

  params = jax.tree.map(np.asarray, variables['params'])

  def project(name, x):
    kernel, bias = params[name]['kernel'], params[name]['bias']
    return np.einsum('nc,chd->nhd', x, kernel) + bias

  for b in range(B):
    known = np.concatenate([x[b], coordinates], axis=-1)
    more = np.concatenate([known, before[b]], axis=-1)
    query, key = project('query', known), project('key', more)
    value = project('value', more)
    for i in range(N):
      weights = np.einsum('hd,nhd->hn', query[i], key[: i + 1])
      weights = np.exp(weights / np.sqrt(C // HEADS))
      weights /= weights.sum(axis=-1, keepdims=True)
      y = np.einsum('hn,nhd->hd', weights, value[: i + 1])
      y = np.einsum('hd,hdc->c', y, params['out']['kernel'])
      want = y + params['out']['bias']
      np.testing.assert_allclose(got[b, i], want, atol=1e-5)


def test_coordinate_channels_contain_row_and_column():
  got = snail.get_coordinates(jnp.arange(6), (2, 3))
  rows, columns = np.indices((2, 3)).reshape(2, -1)
  np.testing.assert_allclose(got[:, 0], rows / 2 - 0.5, atol=1e-6)
  np.testing.assert_allclose(got[:, 1], columns / 3 - 0.5, atol=1e-6)
