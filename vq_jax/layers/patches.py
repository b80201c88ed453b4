"""Overlapping patches: image -> grid and grid -> image.

The layers compute a strided convolution with a large kernel and its transpose,
as a rearrangement of pixels and a small convolution or a matrix product, which
is several times faster on a CPU.
"""

import functools
import operator

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.layers import products
from vq_jax.layers import projection


def check_patch(patch: int, stride: int) -> None:
  """Raises ValueError unless `patch` is a multiple of `stride`."""
  if stride < 1 or patch < stride or patch % stride:
    raise ValueError(
      f'patch must be a multiple of stride; got patch={patch} and '
      f'stride={stride}.'
    )


class PatchConv(nn.Module):
  """Computes `nn.Conv(features, (patch, patch), strides=stride)`.

  Attributes:
    features: output channels.
    patch: side of a patch, a multiple of `stride`.
    stride: pixels between patches.
    use_bias: whether a bias is added.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
  """

  features: int
  patch: int
  stride: int
  use_bias: bool = True
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, image: jax.Array) -> jax.Array:
    """Maps [B, H, W, C] to [B, H / stride, W / stride, features]."""
    check_patch(self.patch, self.stride)
    p, s = self.patch, self.stride
    b, height, width, c = image.shape
    h, w, r = height // s, width // s, p // s
    kernel = self.param(
      'kernel',
      nn.initializers.lecun_normal(),
      (p, p, c, self.features),
      self.param_dtype,
    )
    bias = None
    if self.use_bias:
      bias = self.param(
        'bias', nn.initializers.zeros_init(), (self.features,), self.param_dtype
      )
    x, kernel, bias = nn.dtypes.promote_dtype(
      image, kernel, bias, dtype=self.dtype
    )
    before = (p - s) // 2
    x = jnp.pad(x, ((0, 0), *[(before, p - s - before)] * 2, (0, 0)))
    # The pixels of a stride x stride block become channels.
    x = x.reshape(b, h + r - 1, s, w + r - 1, s, c)
    x = x.transpose(0, 1, 3, 2, 4, 5).reshape(b, h + r - 1, w + r - 1, -1)
    kernel = kernel.reshape(r, s, r, s, c, -1).transpose(0, 2, 1, 3, 4, 5)
    y = jax.lax.conv_general_dilated(
      x,
      kernel.reshape(r, r, s * s * c, -1),
      window_strides=(1, 1),
      padding='VALID',
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    )
    return y if bias is None else projection.add_bias(y, bias)


class OverlapAdd(nn.Module):
  """A transposed convolution: adds a patch for each cell of the grid.

  The kernel [patch, patch, D, features] is not flipped: it is the patch itself.

  Attributes:
    features: channels of the image.
    patch: side of a patch, a multiple of `stride`.
    stride: pixels between patches.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
  """

  features: int
  patch: int
  stride: int
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [B, h, w, D] to [B, h * stride, w * stride, features]."""
    check_patch(self.patch, self.stride)
    p, s, c = self.patch, self.stride, self.features
    b, h, w, d = x.shape
    r = p // s
    kernel = self.param(
      'kernel',
      nn.initializers.lecun_normal(),
      (p, p, d, c),
      self.param_dtype,
    )
    bias = self.param(
      'bias', nn.initializers.zeros_init(), (c,), self.param_dtype
    )
    x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
    # A patch consists of r x r blocks of stride x stride pixels.
    kernel = kernel.reshape(r, s, r, s, d, c).transpose(4, 0, 2, 1, 3, 5)
    blocks = products.project(x, kernel.reshape(d, -1))
    blocks = blocks.reshape(b, h, w, r, r, s * s * c)
    shifted = (
      jnp.pad(
        blocks[:, :, :, i, j],
        ((0, 0), (i, r - 1 - i), (j, r - 1 - j), (0, 0)),
      )
      for i in range(r)
      for j in range(r)
    )
    summed = functools.reduce(operator.add, shifted)
    image = summed.reshape(b, h + r - 1, w + r - 1, s, s, c)
    image = image.transpose(0, 1, 3, 2, 4, 5)
    image = image.reshape(b, (h + r - 1) * s, (w + r - 1) * s, c)
    first = (p - s) // 2
    image = image[:, first : first + h * s, first : first + w * s]
    return projection.add_bias(image, bias)
