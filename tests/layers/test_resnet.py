"""Blocks of VQGAN's backbones against their definitions."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.utils.variables import random_variables
from vq_jax.layers import attention
from vq_jax.layers import normalization
from vq_jax.layers import resnet


def features(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def apply(module, variables, *args):
  return np.asarray(jax.jit(module.apply)(variables, *args))


def normalised(x, groups, epsilon):
  """Group by group: mean 0, variance 1."""
  b, h, w, c = x.shape
  parts = x.reshape(b, h * w, groups, c // groups)
  mean = parts.mean((1, 3), keepdims=True)
  variance = parts.var((1, 3), keepdims=True)
  return ((parts - mean) / np.sqrt(variance + epsilon)).reshape(x.shape)


def convolved(x, kernel):
  """3x3 with a border of zeros."""
  padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
  h, w = x.shape[1:3]
  return sum(
    padded[:, i : i + h, j : j + w] @ kernel[i, j]
    for i in range(3)
    for j in range(3)
  )


def swish(x):
  return x / (1 + np.exp(-x))


@pytest.mark.parametrize('groups', [1, 2, 4])
@pytest.mark.parametrize('epsilon', [1e-6, 0.5])
def test_norm_and_swish(groups, epsilon):
  module = resnet.NormSwish(groups, epsilon)
  x = features(2, 3, 5, 8)
  variables = random_variables(module, x)
  norm = jax.tree.map(np.asarray, variables['params']['norm'])
  want = swish(normalised(x, groups, epsilon) * norm['scale'] + norm['bias'])
  np.testing.assert_allclose(apply(module, variables, x), want, atol=1e-5)


@pytest.mark.parametrize(
  ('dtype', 'atol'), [('float32', 1e-4), ('bfloat16', 0.2)]
)
def test_gradients_of_norm_and_swish_are_those_of_its_parts(dtype, atol):
  rng = np.random.default_rng(0)
  x = jnp.asarray(2 + 3 * features(2, 3, 5, 8), dtype)
  weights = jnp.asarray(features(2, 3, 5, 8, seed=1), dtype)
  scale, bias = jnp.asarray(rng.normal(size=(2, 8)), jnp.float32)

  def composed(x, scale, bias):
    norm = nn.GroupNorm(4, epsilon=0.1)
    wide = x.astype(jnp.float32)
    y = norm.apply({'params': {'scale': scale, 'bias': bias}}, wide)
    return (nn.swish(y) * weights).sum()

  def fused(x, scale, bias):
    y = normalization.group_norm_swish(x, scale, bias, 4, 0.1)
    return (y * weights).sum().astype(jnp.float32)

  got, want = (
    jax.jit(jax.grad(f, argnums=(0, 1, 2)))(x, scale, bias)
    for f in (fused, composed)
  )
  for one, two in zip(got, want, strict=True):
    assert one.dtype == two.dtype
    one, two = (np.asarray(v, np.float32) for v in (one, two))
    np.testing.assert_allclose(one, two, atol=atol)


def test_groups_must_divide_the_channels():
  with pytest.raises(ValueError, match='got 3 groups and 8 channels'):
    resnet.NormSwish(3).init(jax.random.key(0), features(1, 2, 2, 8))


@pytest.mark.parametrize('shortcut', ['input', 'output'])
@pytest.mark.parametrize('use_bias', [True, False])
@pytest.mark.parametrize('channels', [4, 8])
def test_a_block_by_hand(shortcut, use_bias, channels):
  module = resnet.ResNetBlock(
    channels, shortcut=shortcut, use_bias=use_bias, groups=2, epsilon=0.1
  )
  x = features(2, 3, 4, 4)
  variables = random_variables(module, x)
  p = jax.tree.map(np.asarray, variables['params'])
  assert ('bias' in p['conv1']) == use_bias
  y = x
  for i in (1, 2):
    norm, conv = p[f'norm{i}']['norm'], p[f'conv{i}']
    y = swish(normalised(y, 2, 0.1) * norm['scale'] + norm['bias'])
    y = convolved(y, conv['kernel']) + conv.get('bias', 0)
  residual = x
  if channels == 8:
    layer = p['shortcut']
    residual = {'input': x, 'output': y}[shortcut] @ layer['kernel']
    residual = residual + layer.get('bias', 0)
    assert ('bias' in layer) == use_bias
  got = apply(module, variables, x)
  np.testing.assert_allclose(got, residual + y, atol=1e-4)


def test_attention_sees_all_positions_with_one_head():
  module = resnet.AttentionBlock(groups=2, epsilon=0.1)
  x = features(2, 3, 4, 8)
  variables = random_variables(module, x)
  p = jax.tree.map(np.asarray, variables['params'])
  y = normalised(x, 2, 0.1) * p['norm']['scale'] + p['norm']['bias']
  inner = attention.SelfAttention(heads=1)
  assert p['attention']['query']['kernel'].shape == (8, 1, 8)
  want, _ = inner.apply({'params': p['attention']}, y.reshape(2, 12, 8))
  got = apply(module, variables, x)
  np.testing.assert_allclose(got, x + want.reshape(x.shape), atol=1e-5)


def test_strided_convolution_pads_to_the_right_and_below():
  module = resnet.Downsample('strided')
  x = features(2, 4, 6, 3)
  variables = random_variables(module, x)
  conv = jax.tree.map(np.asarray, variables['params']['conv'])
  padded = np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))
  want = np.zeros((2, 2, 3, 3)) + conv['bias']
  for row in range(2):
    for column in range(3):
      for i in range(3):
        for j in range(3):
          pixel = padded[:, 2 * row + i, 2 * column + j]
          want[:, row, column] += pixel @ conv['kernel'][i, j]
  np.testing.assert_allclose(apply(module, variables, x), want, atol=1e-5)


def test_average_of_four_pixels():
  x = features(2, 4, 6, 3)
  want = x.reshape(2, 2, 2, 3, 2, 3).mean((2, 4))
  got = apply(resnet.Downsample('average'), {}, x)
  np.testing.assert_allclose(got, want, atol=1e-6)


@pytest.mark.parametrize(
  'form', ['_convolve_by_parts', '_convolve_transposed', '_convolve_whole']
)
def test_upsampling_repeats_pixels_and_convolves(form, monkeypatch):
  """In the form of a CPU, of a TPU, and of other devices."""
  for name in ('_convolve_by_parts', '_convolve_transposed', '_convolve_whole'):
    monkeypatch.setattr(resnet, name, getattr(resnet, form))
  module = resnet.Upsample()
  x = features(2, 2, 3, 4)
  variables = random_variables(module, x)
  conv = jax.tree.map(np.asarray, variables['params']['conv'])
  large = np.kron(x, np.ones((1, 2, 2, 1), np.float32))
  want = convolved(large, conv['kernel']) + conv['bias']
  np.testing.assert_allclose(apply(module, variables, x), want, atol=1e-5)


@pytest.mark.parametrize(
  ('module', 'message'),
  [
    (resnet.Downsample('max'), "'strided' or 'average'; got 'max'"),
    (
      resnet.ResNetBlock(8, shortcut='both', groups=2),
      "'input' or 'output'; got 'both'",
    ),
  ],
)
def test_unknown_choices_are_refused(module, message):
  with pytest.raises(ValueError, match=message):
    module.init(jax.random.key(0), features(1, 2, 2, 4))
