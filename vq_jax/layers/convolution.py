"""Residual blocks of images [B, H, W, C], and convolution over tokens."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.layers import products
from vq_jax.layers import projection
from vq_jax.utils.dtypes import Dtypes


class ResidualBlock(nn.Module):
  """The residual block of VQ-VAE: x + conv 1x1(relu(conv 3x3(relu(x)))).

  Van den Oord et al. 2017, section 4.1 (https://arxiv.org/abs/1711.00937).

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
    types: Dtypes = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    y = nn.Conv(self.inner_channels, (3, 3), **types)(nn.relu(x))
    return x + nn.Conv(self.channels, (1, 1), **types)(nn.relu(y))


class BottleneckBlock(nn.Module):
  """A bottleneck block: x + 1x1(gelu(3x3(gelu(1x1(x))))).

  It has no normalisation; the last layer is initialised small, so that a stack
  of blocks begins near the identity and trains at high learning rates.

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
    types: Dtypes = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    y = nn.gelu(nn.Dense(self.inner_channels, **types)(x))
    y = nn.gelu(nn.Conv(self.inner_channels, (3, 3), **types)(y))
    small = nn.initializers.variance_scaling(0.1, 'fan_in', 'truncated_normal')
    return x + nn.Dense(self.channels, kernel_init=small, **types)(y)


class GridConv(nn.Module):
  """A convolution over a sequence of tokens whose last h * w are a grid.

  For tokens before the grid, such as a class token, it is a dense layer with
  the weights of the centre of the kernel.

  Attributes:
    features: output width.
    kernel: kernel size, odd.
    grid: (h, w); the last h * w tokens are the grid in raster order.
    kernel_init: initializer of the kernel.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
  """

  features: int
  kernel: int
  grid: tuple[int, int]
  kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [B, P + h * w, D] to [B, P + h * w, features]."""
    h, w = self.grid
    b, n, d = x.shape
    prefix = n - h * w
    kernel = self.param(
      'kernel',
      self.kernel_init,
      (self.kernel, self.kernel, d, self.features),
      self.param_dtype,
    )
    bias = self.param(
      'bias', nn.initializers.zeros_init(), (self.features,), self.param_dtype
    )
    x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
    # One matrix product over gathered neighbours: on a CPU, the gradient of a
    # convolution over such a small grid takes nearly twice as long.
    k, middle = self.kernel, self.kernel // 2
    around = ((0, 0), (middle, middle), (middle, middle), (0, 0))
    padded = jnp.pad(x[:, prefix:].reshape(b, h, w, d), around)
    neighbours = jnp.concatenate(
      [padded[:, i : i + h, j : j + w] for i in range(k) for j in range(k)],
      axis=-1,
    ).reshape(b, h * w, k * k * d)
    parts = [
      products.project(x[:, :prefix], kernel[middle, middle]),
      products.project(neighbours, kernel.reshape(-1, self.features)),
    ]
    return projection.add_bias(jnp.concatenate(parts, axis=1), bias)
