"""The common part of the autoencoders with a continuous latent, AE and VAE."""

import math

import flax.linen as nn
import jax

from vq_jax.autoencoders import base
from vq_jax.layers import checked
from vq_jax.utils import fields


class ToLatent(checked.CheckedModule):
  """Maps features [B, h, w, D'] to [B, features] or [B, h, w, features].

  Attributes:
    features: width of the output.
    grid: (h, w) of the input if the output is one vector per image; None keeps
      the grid.
  """

  features: fields.PositiveInt
  grid: tuple[int, int] | None = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Applies a linear layer, to the flattened features if `grid` is set."""
    if self.grid is not None:
      if x.shape[1:3] != tuple(self.grid):
        raise ValueError(
          f'grid is {tuple(self.grid)}, but the features of this image have '
          f'shape {x.shape[1:3]}. Use images of the size that grid was set '
          'for, or leave grid out.'
        )
      x = x.reshape(x.shape[0], -1)
    return nn.Dense(self.features)(x)


class FromLatent(checked.CheckedModule):
  """The reverse of `ToLatent`, from a latent to the input of a decoder.

  Attributes:
    channels: width of the output if the latent is one vector per image.
    grid: (h, w) of the output if the latent is one vector; with None the latent
      is returned unchanged.
  """

  channels: fields.PositiveInt
  grid: tuple[int, int] | None = None

  @nn.compact
  def __call__(self, z: jax.Array) -> jax.Array:
    """Maps [B, D] to [B, h, w, channels], or returns z [B, h, w, D]."""
    if self.grid is None:
      return z
    x = nn.Dense(math.prod(self.grid) * self.channels)(z)
    return nn.relu(x).reshape(z.shape[0], *self.grid, self.channels)


class ContinuousAutoencoder(checked.CheckedModule):
  """The base class of `AE` and `VAE`.

  Attributes:
    encoder: module that maps an image [B, H, W, C] to features [B, h, w, D'].
    decoder: module that maps [B, h, w, D''] to its output [B, H, W, C'].
    latent_dim: D, the width of the latent.
    grid: (h, w) of the features if the latent is one vector [B, D] per image,
      which needs images of one size; None for a latent [B, h, w, D].
    grid_channels: D'', the width of the decoder's input, if `grid` is set.
    value_range: range of the encoder's input pixels. Outside they are in
      [0, 1].
  """

  encoder: nn.Module
  decoder: nn.Module
  latent_dim: fields.PositiveInt
  grid: tuple[int, int] | None = None
  grid_channels: fields.PositiveInt = 64
  value_range: tuple[float, float] = (-1.0, 1.0)

  # The number of values that the encoder gives per dimension of the latent.
  _values_per_dim = 1

  def setup(self):
    """Declares the layers between encoder and decoder."""
    base.require_one_stride(self.encoder, self.decoder)
    self.to_latent = ToLatent(self._values_per_dim * self.latent_dim, self.grid)
    self.from_latent = FromLatent(self.grid_channels, self.grid)

  def features(self, image: jax.Array) -> jax.Array:
    """Returns the output of the encoder, float [B, h, w, D']."""
    return base.encode_pixels(self.encoder, image, self.value_range)

  @property
  def stride(self) -> int:
    """Pixels per latent along a side."""
    return self.encoder.stride

  @property
  def token_grids(self) -> tuple[base.TokenGrid, ...]:
    """An empty tuple: the latent has no tokens."""
    return ()
