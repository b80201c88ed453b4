"""The convolutional encoder and decoder of VQ-VAE.

The layout is that of Sonnet's VQ-VAE example, by the authors of
https://arxiv.org/abs/1711.00937. An encoder maps an image [B, H, W, C] to
features [B, h, w, D'], a decoder maps codes [B, h, w, D] to an image; both have
the field or property `stride`, which is H / h.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.layers import checked
from vq_jax.layers import convolution
from vq_jax.utils import fields
from vq_jax.utils.dtypes import Dtypes


class ConvEncoder(checked.CheckedModule):
  """Strided 4x4 convolutions, a 3x3 convolution, residual blocks and a relu.

  Attributes:
    channels: width of the features. All strided convolutions but the last have
      half this width.
    residual_channels: width inside a residual block.
    residual_blocks: number of residual blocks.
    downsamples: number of strided convolutions; the stride is 2 ** downsamples.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from vq_jax import autoencoders
    >>> encoder = autoencoders.ConvEncoder(channels=8, residual_channels=4)
    >>> image = jnp.zeros((1, 16, 16, 3))
    >>> features, _ = encoder.init_with_output(jax.random.key(0), image)
    >>> features.shape
    (1, 4, 4, 8)
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
    types: Dtypes = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
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
  """A 3x3 convolution, residual blocks and transposed 4x4 convolutions.

  Attributes:
    out_channels: number of channels of the image.
    channels: width of the features.
    residual_channels: width inside a residual block.
    residual_blocks: number of residual blocks.
    upsamples: number of transposed convolutions; the stride is 2 ** upsamples.
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
    """Name of the layer whose output is the image."""
    return f'ConvTranspose_{self.upsamples - 1}'

  @nn.compact
  def __call__(self, codes: jax.Array) -> jax.Array:
    """Maps [B, h, w, D] to [B, h * stride, w * stride, out_channels]."""
    types: Dtypes = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
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
