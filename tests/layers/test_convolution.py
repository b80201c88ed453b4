"""Laws of the residual blocks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.utils.variables import random_variables
from vq_jax.layers import convolution

BLOCKS = [convolution.ResidualBlock, convolution.BottleneckBlock]


def features(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def make(block):
  module = block(channels=6, inner_channels=5)
  x = features(2, 4, 5, 6)
  return module, random_variables(module, x), x


def convolve(x, kernel, bias):
  """SAME convolution of odd kernel and stride 1, by its definition."""
  k = kernel.shape[0]
  pad = k // 2
  h, w = x.shape[1:3]
  x = np.pad(x, [(0, 0), (pad, pad), (pad, pad), (0, 0)])
  y = sum(
    x[:, i : i + h, j : j + w] @ kernel[i, j]
    for i in range(k)
    for j in range(k)
  )
  return y + bias


def dense(x, kernel, bias):
  return x @ kernel + bias


def gelu(x):
  return x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2


@pytest.mark.parametrize('block', BLOCKS)
def test_formula(block):
  module, variables, x = make(block)
  params = jax.tree.map(lambda v: np.asarray(v, np.float64), variables)
  params = params['params']
  if block is convolution.ResidualBlock:
    y = convolve(np.maximum(x, 0), **params['Conv_0'])
    want = x + convolve(np.maximum(y, 0), **params['Conv_1'])
  else:
    y = gelu(dense(x, **params['Dense_0']))
    y = gelu(convolve(y, **params['Conv_0']))
    want = x + dense(y, **params['Dense_1'])
  np.testing.assert_allclose(
    jax.jit(module.apply)(variables, x), want, atol=1e-4
  )


@pytest.mark.parametrize('block', BLOCKS)
def test_without_its_last_layer_a_block_is_the_identity(block):
  module, variables, x = make(block)
  params = dict(variables['params'])
  last = 'Conv_1' if block is convolution.ResidualBlock else 'Dense_1'
  params[last] = jax.tree.map(jnp.zeros_like, params[last])
  got = jax.jit(module.apply)({'params': params}, x)
  np.testing.assert_array_equal(got, x)


def test_a_stack_of_bottlenecks_begins_near_the_identity():
  x = features(2, 4, 5, 32)
  block = convolution.BottleneckBlock(channels=32, inner_channels=16)
  y, _ = jax.jit(block.init_with_output)(jax.random.key(0), x)
  assert 0 < np.square(y - x).mean() < 0.05 * np.square(x).mean()


@pytest.mark.parametrize('block', BLOCKS)
def test_a_pixel_affects_exactly_its_neighbours(block):
  module, variables, x = make(block)
  other = x.copy()
  other[:, 0, 2] += features(6, seed=1)
  apply = jax.jit(module.apply)
  moved = np.abs(apply(variables, x) - apply(variables, other)).max((0, -1)) > 0
  want = np.zeros((4, 5), bool)
  want[:2, 1:4] = True
  np.testing.assert_array_equal(moved, want)


def test_grid_convolution_of_kernel_one_is_a_dense_layer():
  layer = convolution.GridConv(features=5, kernel=1, grid=(2, 3))
  x = features(2, 7, 4)
  kernel, bias = features(1, 1, 4, 5, seed=1), features(5, seed=2)
  params = {'params': {'kernel': kernel, 'bias': bias}}
  got = jax.jit(layer.apply)(params, x)
  np.testing.assert_allclose(got, x @ kernel[0, 0] + bias, atol=1e-5)


def test_grid_convolution_row_by_row():
  """Against its definition; tokens in front meet the kernel's centre alone."""
  layer = convolution.GridConv(features=5, kernel=3, grid=(2, 3))
  x = features(2, 8, 4)
  kernel, bias = features(3, 3, 4, 5, seed=1), features(5, seed=2)
  params = {'params': {'kernel': kernel, 'bias': bias}}
  got = jax.jit(layer.apply)(params, x)
  want = np.zeros((2, 8, 5)) + bias
  want[:, :2] += x[:, :2] @ kernel[1, 1]
  for row in range(2):
    for column in range(3):
      for i in range(2):
        for j in range(3):
          di, dj = i - row + 1, j - column + 1
          if 0 <= di <= 2 and 0 <= dj <= 2:
            neighbour = x[:, 2 + 3 * i + j]
            want[:, 2 + 3 * row + column] += neighbour @ kernel[di, dj]
  np.testing.assert_allclose(got, want, atol=1e-5)
