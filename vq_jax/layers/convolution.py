"""Blocks of the convolutional towers. Arrays are [B, H, W, C]."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class ResidualBlock(nn.Module):
  """relu, 3x3, relu, 1x1, add: the block of VQ-VAE (2017, section 4.1).

  Attributes:
    channels: width of the input and of the output.
    inner_channels: width between the two convolutions.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
  """

  channels: int
  inner_channels: int
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [B, H, W, channels] to the same shape."""
    types = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    y = nn.Conv(self.inner_channels, (3, 3), **types)(nn.relu(x))
    return x + nn.Conv(self.channels, (1, 1), **types)(nn.relu(y))


class BottleneckBlock(nn.Module):
  """1x1, gelu, 3x3, gelu, 1x1, add: a narrow convolution in a wide stream.

  Without a norm, and the last layer starts small: a stack of them begins near
  the identity, and trains at high learning rates.

  Attributes:
    channels: width of the input and of the output.
    inner_channels: width of the 3x3 convolution.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
  """

  channels: int
  inner_channels: int
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [B, H, W, channels] to the same shape."""
    types = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    y = nn.gelu(nn.Dense(self.inner_channels, **types)(x))
    y = nn.gelu(nn.Conv(self.inner_channels, (3, 3), **types)(y))
    small = nn.initializers.variance_scaling(0.1, 'fan_in', 'truncated_normal')
    return x + nn.Dense(self.channels, kernel_init=small, **types)(y)
