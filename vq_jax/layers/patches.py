"""Overlapping patches by way of the grid: image -> grid and grid -> image.

The same maps as a strided convolution and its transpose with a large kernel,
written as a rearrangement of pixels and a small convolution or one matrix
product, which a CPU runs several times faster.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp


def check_patch(patch: int, stride: int) -> None:
  """Raises ValueError unless a patch is made of whole strides."""
  if stride < 1 or patch < stride or patch % stride:
    raise ValueError(
      f'patch must be a multiple of its stride; got patch={patch} and '
      f'stride={stride}.'
    )


class PatchConv(nn.Module):
  """`nn.Conv(features, (patch, patch), strides=stride)`, the same numbers.

  Attributes:
    features: output channels.
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
    bias = self.param(
      'bias', nn.initializers.zeros_init(), (self.features,), self.param_dtype
    )
    x, kernel, bias = nn.dtypes.promote_dtype(
      image, kernel, bias, dtype=self.dtype
    )
    before = (p - s) // 2
    x = jnp.pad(x, ((0, 0), *[(before, p - s - before)] * 2, (0, 0)))
    # Each stride x stride block of pixels becomes the channels of one cell.
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
    return y + jnp.expand_dims(bias, (0, 1, 2))


class OverlapAdd(nn.Module):
  """Each cell of the grid paints a patch; where patches overlap, they add up.

  A transposed convolution, whose kernel is stored as the patch is painted.

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
    # Each patch is r x r blocks of stride x stride pixels.
    kernel = kernel.reshape(r, s, r, s, d, c).transpose(4, 0, 2, 1, 3, 5)
    blocks = x.reshape(-1, d) @ kernel.reshape(d, -1)
    blocks = blocks.reshape(b, h, w, r, r, s * s * c)
    painted = sum(
      jnp.pad(
        blocks[:, :, :, i, j],
        ((0, 0), (i, r - 1 - i), (j, r - 1 - j), (0, 0)),
      )
      for i in range(r)
      for j in range(r)
    )
    image = painted.reshape(b, h + r - 1, w + r - 1, s, s, c)
    image = image.transpose(0, 1, 3, 2, 4, 5)
    image = image.reshape(b, (h + r - 1) * s, (w + r - 1) * s, c)
    first = (p - s) // 2
    image = image[:, first : first + h * s, first : first + w * s]
    return image + jnp.expand_dims(bias, (0, 1, 2))
