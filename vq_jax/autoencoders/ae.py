"""AE: an autoencoder with a continuous latent."""

import flax.struct
import jax
import jax.numpy as jnp

from vq_jax.autoencoders import bottleneck
from vq_jax.utils import images


@flax.struct.dataclass
class Latent:
  """A continuous latent, with the loss and statistics of `Quantized`.

  Attributes:
    z: float [B, D] or [B, h, w, D].
    loss: float32 [], the latent's term of the training objective, which is 0.
    stats: name -> float32 [], which is empty.
  """

  z: jax.Array
  loss: jax.Array
  stats: dict[str, jax.Array]


class AE(bottleneck.ContinuousAutoencoder):
  """An autoencoder without regularisation of the latent.

  The attributes are those of
  `vq_jax.autoencoders.bottleneck.ContinuousAutoencoder`.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from vq_jax import autoencoders
    >>> model = autoencoders.AE(
    ...   encoder=autoencoders.PatchEncoder(channels=8, blocks=0),
    ...   decoder=autoencoders.PatchDecoder(channels=8, blocks=0),
    ...   latent_dim=2,
    ... )
    >>> image = jnp.zeros((1, 8, 8, 3))
    >>> (decoded, latent), _ = model.init_with_output(jax.random.key(0), image)
    >>> decoded.shape, latent.z.shape
    ((1, 8, 8, 3), (1, 2, 2, 2))
  """

  def __call__(
    self, image: jax.Array, *, train: bool = False
  ) -> tuple[jax.Array, Latent]:
    """Returns the reconstruction of `image` and its `Latent`."""
    latent = self.encode(image, train=train)
    return self.decode(latent.z), latent

  def encode(self, image: jax.Array, *, train: bool = False) -> Latent:
    """Encodes images [B, H, W, C], float in [0, 1] or uint8.

    Raises:
      ValueError: if H or W is not a multiple of `stride`, or the image does not
        have the size that `grid` requires.
    """
    del train
    return Latent(z=self.latents(image), loss=jnp.zeros(()), stats={})

  def latents(self, image: jax.Array) -> jax.Array:
    """Returns the latents, float32 [B, D] or [B, h, w, D]."""
    return self.to_latent(self.features(image)).astype(jnp.float32)

  def decode(self, z: jax.Array) -> jax.Array:
    """Decodes latents to float32 [B, H, W, C] in [0, 1], not clipped."""
    x = self.decoder(self.from_latent(z))
    return images.from_range(x.astype(jnp.float32), self.value_range)
