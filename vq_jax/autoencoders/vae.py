"""VAE: an autoencoder whose latent is a normal distribution."""

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
class Gaussian:
  """A normal distribution with independent components, one per example.

  Attributes:
    mean: float32 [B, ...].
    log_variance: float32 [B, ...].
  """

  mean: jax.Array
  log_variance: jax.Array

  def sample(self, keys: jax.Array) -> jax.Array:
    """Draws mean + s * e with e ~ N(0, I), so that gradients reach both.

    Args:
      keys: one key per example, [B].
    """
    noise = jax.vmap(lambda key: jax.random.normal(key, self.mean.shape[1:]))
    return self.mean + jnp.exp(self.log_variance / 2) * noise(keys)

  def kl(self) -> jax.Array:
    """Returns KL(q || N(0, I)) in nats, summed over the components: [B].

    Of each it is log(1/s) + (s^2 + m^2) / 2 - 1/2.
    """
    terms = (
      jnp.exp(self.log_variance) + jnp.square(self.mean) - self.log_variance - 1
    ) / 2
    return terms.reshape(terms.shape[0], -1).sum(axis=-1)

  def log_prob(self, z: jax.Array) -> jax.Array:
    """Returns log q(z) in nats: [B]."""
    return _normal_log_prob(z, self.mean, self.log_variance)


def standard_log_prob(z: jax.Array) -> jax.Array:
  """Returns the log density of z [B, ...] under N(0, I): [B]."""
  return _normal_log_prob(z, jnp.zeros_like(z), jnp.zeros_like(z))


def _normal_log_prob(z, mean, log_variance):
  terms = -0.5 * (
    jnp.square(z - mean) * jnp.exp(-log_variance)
    + log_variance
    + jnp.log(2 * jnp.pi)
  )
  return terms.reshape(z.shape[0], -1).sum(axis=-1)


class VAE(checked.CheckedModule):
  """A latent variable model of images (Kingma and Welling 2014).

  p(z) = N(0, I), p(x | z) is the `likelihood` of what the decoder gives, and
  q(z | x) is the normal distribution that the encoder gives.

  Attributes:
    encoder: tower: image [B, H, W, C] -> features [B, h, w, D'].
    decoder: tower: [B, h, w, D''] -> what the likelihood takes, [B, H, W, C].
    likelihood: see `vq_jax.autoencoders.likelihoods`.
    latent_dim: D.
    grid: (h, w) of the features if the whole image becomes one vector [B, D],
      for images of one size; None for a map [B, h, w, D].
    grid_channels: D'', the width of what the decoder is given, with a grid.
    value_range: the pixel range that the encoder sees.
  """

  encoder: nn.Module
  decoder: nn.Module
  likelihood: nn.Module
  latent_dim: fields.PositiveInt
  grid: tuple[int, int] | None = None
  grid_channels: fields.PositiveInt = 64
  value_range: tuple[float, float] = (-1.0, 1.0)

  def setup(self):
    """Declares the layers between the towers."""
    base.require_one_stride(self.encoder, self.decoder)
    self.to_latent = bottleneck.ToLatent(2 * self.latent_dim, self.grid)
    self.from_latent = bottleneck.FromLatent(self.grid_channels, self.grid)

  def __call__(
    self, image: jax.Array, *, train: bool = False
  ) -> tuple[jax.Array, Gaussian]:
    """Returns the image decoded from the mean of q, and q."""
    q = self.encode(image, train=train)
    output = self.decode_output(q.mean)
    if self.is_initializing():  # a learned scale shows itself here alone
      self.likelihood(output, images.to_float(image))
    return self.likelihood.mean(output), q

  def encode(self, image: jax.Array, *, train: bool = False) -> Gaussian:
    """Returns q(z | x) of images [B, H, W, C], float in [0, 1] or uint8.

    Raises:
      ValueError: if the image does not divide into the grid, or does not have
        the size that `grid` asks for.
    """
    del train  # nothing here behaves otherwise
    both = self.to_latent(self.features(image)).astype(jnp.float32)
    mean, log_variance = jnp.split(both, 2, axis=-1)
    return Gaussian(mean=mean, log_variance=log_variance)

  def latents(self, image: jax.Array) -> jax.Array:
    """Returns the means of q, float32 [B, D] or [B, h, w, D]."""
    return self.encode(image).mean

  def features(self, image: jax.Array) -> jax.Array:
    """Returns what the encoder sees in images, float [B, h, w, D']."""
    return base.encode_pixels(self.encoder, image, self.value_range)

  def decode(self, codes: jax.Array) -> jax.Array:
    """Decodes latents to the mean image, float32 [B, H, W, C]."""
    return self.likelihood.mean(self.decode_output(codes))

  def decode_output(self, z: jax.Array) -> jax.Array:
    """Returns what the likelihood takes."""
    return self.decoder(self.from_latent(z))

  def terms(
    self, image: jax.Array, keys: jax.Array
  ) -> tuple[jax.Array, Gaussian, jax.Array]:
    """Draws z ~ q(z | x), one for each example.

    Args:
      image: [B, H, W, C], float in [0, 1].
      keys: one key per example, [B].

    Returns:
      log p(x | z) [B] in nats, q, and z.
    """
    q = self.encode(image)
    z = q.sample(keys)
    return self.likelihood(self.decode_output(z), image), q, z

  def log_weight(self, image: jax.Array, keys: jax.Array) -> jax.Array:
    """Returns log p(x | z) p(z) / q(z | x) of one z ~ q each: [B] in nats.

    Its mean over z is the evidence lower bound; of several, see
    `vq_jax.losses.iwae_bound`.
    """
    log_p, q, z = self.terms(image, keys)
    return log_p + standard_log_prob(z) - q.log_prob(z)

  @property
  def stride(self) -> int:
    """Pixels per latent along a side."""
    return self.encoder.stride

  @property
  def token_grids(self) -> tuple[base.TokenGrid, ...]:
    """There are no codes."""
    return ()
