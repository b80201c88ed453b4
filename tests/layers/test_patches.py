"""Laws of overlapping patches."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.utils.variables import random_variables
from vq_jax.layers import patches

SIZES = pytest.mark.parametrize(
  ('patch', 'stride'), [(2, 2), (4, 2), (9, 3), (3, 1)]
)


def features(*shape):
  return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@SIZES
def test_patch_convolution_is_a_strided_convolution(patch, stride):
  image = features(2, 3 * stride, 4 * stride, 3)
  plain = nn.Conv(5, (patch, patch), strides=stride)
  ours = patches.PatchConv(5, patch, stride)
  variables = random_variables(plain, image)
  want = jax.jit(plain.apply)(variables, image)
  np.testing.assert_allclose(
    jax.jit(ours.apply)(variables, image), want, atol=1e-5
  )


@SIZES
def test_each_position_adds_its_own_patch(patch, stride):
  layer = patches.OverlapAdd(3, patch, stride)
  x = features(2, 3, 4, 5)
  variables = random_variables(layer, x)
  params = jax.tree.map(np.asarray, variables['params'])
  kernel = params['kernel']
  canvas = np.zeros((2, 2 * stride + patch, 3 * stride + patch, 3))
  for i in range(3):
    for j in range(4):
      painted = np.einsum('bd,pqdc->bpqc', x[:, i, j], kernel)
      top, left = i * stride, j * stride
      canvas[:, top : top + patch, left : left + patch] += painted
  cut = (patch - stride) // 2
  canvas = canvas[:, cut : cut + 3 * stride, cut : cut + 4 * stride]
  want = canvas + params['bias']
  got = jax.jit(layer.apply)(variables, x)
  np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize(('patch', 'stride'), [(4, 2), (9, 3)])
def test_overlap_add_is_the_transpose_of_patch_convolution(patch, stride):
  """<conv(image), x> = <image, paint(x)> with the same kernel."""
  image, x = features(2, 3 * stride, 4 * stride, 3), features(2, 3, 4, 5)
  look = patches.PatchConv(5, patch, stride)
  paint = patches.OverlapAdd(3, patch, stride)
  kernel = random_variables(look, image)['params']['kernel']
  seen = jax.jit(look.apply)(
    {'params': {'kernel': kernel, 'bias': np.zeros(5)}}, image
  )
  turned = jnp.swapaxes(kernel, 2, 3)
  painted = jax.jit(paint.apply)(
    {'params': {'kernel': turned, 'bias': np.zeros(3)}}, x
  )
  np.testing.assert_allclose(
    np.sum(seen * x), np.sum(image * painted), rtol=1e-3, atol=1e-3
  )


@pytest.mark.parametrize(('patch', 'stride'), [(6, 4), (2, 4), (4, 0)])
@pytest.mark.parametrize('layer', [patches.PatchConv, patches.OverlapAdd])
def test_patches_with_fractional_strides_are_refused(layer, patch, stride):
  with pytest.raises(ValueError, match=f'patch={patch} and stride={stride}'):
    jax.eval_shape(
      layer(3, patch, stride).init, jax.random.key(0), jnp.zeros((1, 12, 12, 3))
    )
