"""Between the towers of an AE or VAE: a map of features or one vector."""

import math

import flax.linen as nn
import jax

from vq_jax.layers import checked
from vq_jax.utils import fields


class ToLatent(checked.CheckedModule):
  """Features [B, h, w, D'] -> a latent [B, features] or [B, h, w, features].

  Attributes:
    features: width of what comes out.
    grid: (h, w) if the image becomes one vector; None keeps the grid.
  """

  features: fields.PositiveInt
  grid: tuple[int, int] | None = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Projects, after flattening where there is a grid to flatten."""
    if self.grid is not None:
      if x.shape[1:3] != tuple(self.grid):
        raise ValueError(
          f'the latent is one vector for a grid of {tuple(self.grid)}; this '
          f'image has {x.shape[1:3]}. Give images of the size that the field '
          'grid was set for, or leave grid out.'
        )
      x = x.reshape(x.shape[0], -1)
    return nn.Dense(self.features)(x)


class FromLatent(checked.CheckedModule):
  """Undoes `ToLatent`: a latent -> what a decoder takes, [B, h, w, channels].

  Attributes:
    channels: width of what the decoder is given if the latent is one vector.
    grid: (h, w) if the latent is one vector; None passes it on as it is.
  """

  channels: fields.PositiveInt
  grid: tuple[int, int] | None = None

  @nn.compact
  def __call__(self, z: jax.Array) -> jax.Array:
    """Spreads a vector over the grid."""
    if self.grid is None:
      return z
    x = nn.Dense(math.prod(self.grid) * self.channels)(z)
    return nn.relu(x).reshape(z.shape[0], *self.grid, self.channels)
