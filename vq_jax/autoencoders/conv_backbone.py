"""The convolutional towers of VQ-VAE (van den Oord et al. 2017, section 4.1).

An encoder maps an image [B, H, W, C] to features [B, h, w, D'], a decoder maps
codes [B, h, w, D] to an image. Each tower tells its stride, H / h.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.layers import checked
from vq_jax.layers import convolution
from vq_jax.utils import fields


class ConvEncoder(checked.CheckedModule):
  """Strided 4x4 convolutions, a 3x3 one, residual blocks, a last relu.

  Attributes:
    channels: width of the features. The strided convolutions have half of it
      but for the last.
    residual_channels: width inside a residual block.
    residual_blocks: how many.
    downsamples: strided convolutions; the stride is 2 ** downsamples.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
  """

  channels: fields.PositiveInt = 128
  residual_channels: fields.PositiveInt = 32
  residual_blocks: fields.NonNegativeInt = 2
  downsamples: fields.PositiveInt = 2
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32

  @property
  def stride(self) -> int:
    """Pixels per latent along a side."""
    return 2**self.downsamples

  @nn.compact
  def __call__(self, image: jax.Array) -> jax.Array:
    """Maps float [B, H, W, C] to [B, H / stride, W / stride, channels]."""
    types = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    x = image
    for i in range(self.downsamples):
      last = i == self.downsamples - 1
      width = self.channels if last else self.channels // 2
      x = nn.relu(nn.Conv(width, (4, 4), strides=2, **types)(x))
    x = nn.Conv(self.channels, (3, 3), **types)(x)
    for _ in range(self.residual_blocks):
      x = convolution.ResidualBlock(
        self.channels, self.residual_channels, **types
      )(x)
    return nn.relu(x)


class ConvDecoder(checked.CheckedModule):
  """The mirror of `ConvEncoder`: 3x3, residual blocks, transposed 4x4.

  Attributes:
    out_channels: channels of the image.
    channels: width of the features.
    residual_channels: width inside a residual block.
    residual_blocks: how many.
    upsamples: transposed convolutions; the stride is 2 ** upsamples.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
  """

  out_channels: fields.PositiveInt = 3
  channels: fields.PositiveInt = 128
  residual_channels: fields.PositiveInt = 32
  residual_blocks: fields.NonNegativeInt = 2
  upsamples: fields.PositiveInt = 2
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32

  @property
  def stride(self) -> int:
    """Pixels per latent along a side."""
    return 2**self.upsamples

  @property
  def last_layer(self) -> str:
    """Name of the layer that gives the pixels."""
    return f'ConvTranspose_{self.upsamples - 1}'

  @nn.compact
  def __call__(self, codes: jax.Array) -> jax.Array:
    """Maps [B, h, w, D] to [B, h * stride, w * stride, out_channels]."""
    types = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    x = nn.Conv(self.channels, (3, 3), **types)(codes)
    for _ in range(self.residual_blocks):
      x = convolution.ResidualBlock(
        self.channels, self.residual_channels, **types
      )(x)
    x = nn.relu(x)
    for i in range(self.upsamples):
      last = i == self.upsamples - 1
      width = self.out_channels if last else self.channels // 2
      x = nn.ConvTranspose(width, (4, 4), strides=(2, 2), **types)(x)
      x = x if last else nn.relu(x)
    return x
