"""An encoder and decoder whose blocks all have the resolution of the latents.

One convolution maps overlapping patches to the latent grid. On a CPU these
models reach a given quality several times faster than `ConvEncoder` and
`ConvDecoder`.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.layers import checked
from vq_jax.layers import convolution
from vq_jax.layers import patches
from vq_jax.utils import fields
from vq_jax.utils.dtypes import Dtypes


class PatchEncoder(checked.CheckedModule):
  """One strided convolution with a large kernel, and residual blocks.

  Attributes:
    channels: width of the features.
    inner_channels: width inside a residual block.
    blocks: number of residual blocks.
    patch: side of a patch in pixels, a multiple of `patch_stride`. Patches
      overlap if it is larger than `patch_stride`.
    patch_stride: pixels per latent along a side.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from vq_jax import autoencoders
    >>> encoder = autoencoders.PatchEncoder(channels=8, inner_channels=4)
    >>> image = jnp.zeros((1, 16, 16, 3))
    >>> features, _ = encoder.init_with_output(jax.random.key(0), image)
    >>> features.shape
    (1, 4, 4, 8)
  """

  channels: fields.PositiveInt = 64
  inner_channels: fields.PositiveInt = 32
  blocks: fields.NonNegativeInt = 2
  patch: fields.PositiveInt = 8
  patch_stride: fields.PositiveInt = 4
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32

  @property
  def stride(self) -> int:
    """Pixels per latent along a side."""
    return self.patch_stride

  @nn.compact
  def __call__(self, image: jax.Array) -> jax.Array:
    """Maps float [B, H, W, C] to [B, H / stride, W / stride, channels]."""
    types: Dtypes = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    x = patches.PatchConv(
      self.channels, self.patch, self.patch_stride, **types
    )(image)
    for _ in range(self.blocks):
      x = convolution.BottleneckBlock(
        self.channels, self.inner_channels, **types
      )(x)
    return nn.LayerNorm(**types)(x)


class PatchDecoder(checked.CheckedModule):
  """Residual blocks, and a sum of overlapping patches of pixels.

  Attributes:
    out_channels: number of channels of the image.
    channels: width of the features.
    inner_channels: width inside a residual block.
    blocks: number of residual blocks.
    patch: side of a patch in pixels, a multiple of `patch_stride`. Patches
      overlap if it is larger than `patch_stride`.
    patch_stride: pixels per latent along a side.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
  """

  out_channels: fields.PositiveInt = 3
  channels: fields.PositiveInt = 64
  inner_channels: fields.PositiveInt = 32
  blocks: fields.NonNegativeInt = 3
  patch: fields.PositiveInt = 8
  patch_stride: fields.PositiveInt = 4
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32

  @property
  def stride(self) -> int:
    """Pixels per latent along a side."""
    return self.patch_stride

  @property
  def last_layer(self) -> str:
    """Name of the layer whose output is the image."""
    return 'OverlapAdd_0'

  @nn.compact
  def __call__(self, codes: jax.Array) -> jax.Array:
    """Maps [B, h, w, D] to [B, h * stride, w * stride, out_channels]."""
    types: Dtypes = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    x = nn.Dense(self.channels, **types)(codes)
    for _ in range(self.blocks):
      x = convolution.BottleneckBlock(
        self.channels, self.inner_channels, **types
      )(x)
    return patches.OverlapAdd(
      self.out_channels, self.patch, self.patch_stride, **types
    )(nn.LayerNorm(**types)(x))
