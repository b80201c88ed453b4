"""AE: an autoencoder whose latent is a plain vector, or a map of them."""

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from vq_jax.autoencoders import base
from vq_jax.autoencoders import bottleneck
from vq_jax.layers import checked
from vq_jax.utils import fields
from vq_jax.utils import images


@flax.struct.dataclass
class Latent:
  """A latent without codes; the other fields are those of `Quantized`.

  Attributes:
    z: float [B, D] or [B, h, w, D].
    loss: float32 [], what the latent adds to the objective: nothing.
    stats: name -> float32 [].
  """

  z: jax.Array
  loss: jax.Array
  stats: dict[str, jax.Array]


class AE(checked.CheckedModule):
  """Compresses images to few numbers, by the reconstruction alone.

  Attributes:
    encoder: tower: image [B, H, W, C] -> features [B, h, w, D'].
    decoder: tower: [B, h, w, D''] -> image [B, H, W, C].
    latent_dim: D.
    grid: (h, w) of the features if the whole image becomes one vector [B, D],
      for images of one size; None for a map [B, h, w, D].
    grid_channels: D'', the width of what the decoder is given, with a grid.
    value_range: the pixel range inside; [0, 1] outside.
  """

  encoder: nn.Module
  decoder: nn.Module
  latent_dim: fields.PositiveInt
  grid: tuple[int, int] | None = None
  grid_channels: fields.PositiveInt = 64
  value_range: tuple[float, float] = (-1.0, 1.0)

  def setup(self):
    """Declares the layers between the towers."""
    base.require_one_stride(self.encoder, self.decoder)
    self.to_latent = bottleneck.ToLatent(self.latent_dim, self.grid)
    self.from_latent = bottleneck.FromLatent(self.grid_channels, self.grid)

  def __call__(
    self, image: jax.Array, *, train: bool = False
  ) -> tuple[jax.Array, Latent]:
    """Returns the reconstruction of `image` and its `Latent`."""
    latent = self.encode(image, train=train)
    return self.decode(latent.z), latent

  def encode(self, image: jax.Array, *, train: bool = False) -> Latent:
    """Encodes images [B, H, W, C], float in [0, 1] or uint8.

    Raises:
      ValueError: if the image does not divide into the grid, or does not have
        the size that `grid` asks for.
    """
    del train  # nothing here behaves otherwise
    return Latent(z=self.latents(image), loss=jnp.zeros(()), stats={})

  def latents(self, image: jax.Array) -> jax.Array:
    """Returns the latents, float32 [B, D] or [B, h, w, D]."""
    return self.to_latent(self.features(image)).astype(jnp.float32)

  def features(self, image: jax.Array) -> jax.Array:
    """Returns what the encoder sees in images, float [B, h, w, D']."""
    return base.encode_pixels(self.encoder, image, self.value_range)

  def decode(self, codes: jax.Array) -> jax.Array:
    """Decodes latents to float32 [B, H, W, C], [0, 1] unclipped."""
    x = self.decoder(self.from_latent(codes))
    return images.from_range(x.astype(jnp.float32), self.value_range)

  @property
  def stride(self) -> int:
    """Pixels per latent along a side."""
    return self.encoder.stride

  @property
  def token_grids(self) -> tuple[base.TokenGrid, ...]:
    """There are no codes."""
    return ()
