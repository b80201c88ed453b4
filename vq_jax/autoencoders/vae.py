"""VAE: an autoencoder whose latent has a normal distribution."""

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from vq_jax.autoencoders import bottleneck
from vq_jax.utils import images


@flax.struct.dataclass
class Gaussian:
  """A normal distribution with a diagonal covariance, one per example.

  Attributes:
    mean: float32 [B, ...].
    log_variance: float32 [B, ...].
  """

  mean: jax.Array
  log_variance: jax.Array

  def sample(self, keys: jax.Array) -> jax.Array:
    """Samples z = mean + s * noise, which is differentiable in mean and s.

    Args:
      keys: one key per example, [B].
    """
    noise = jax.vmap(lambda key: jax.random.normal(key, self.mean.shape[1:]))
    return self.mean + jnp.exp(self.log_variance / 2) * noise(keys)

  def kl(self) -> jax.Array:
    """Returns KL(q || N(0, I)) in nats, [B].

    It is the sum of (s^2 + m^2 - 1) / 2 - log s over the components.
    """
    terms = (
      jnp.exp(self.log_variance) + jnp.square(self.mean) - self.log_variance - 1
    ) / 2
    return terms.reshape(terms.shape[0], -1).sum(axis=-1)

  def log_prob(self, z: jax.Array) -> jax.Array:
    """Returns log q(z) in nats, [B]."""
    return _normal_log_prob(z, self.mean, self.log_variance)


def standard_log_prob(z: jax.Array) -> jax.Array:
  """Returns the log density of z [B, ...] under N(0, I), [B]."""
  return _normal_log_prob(z, jnp.zeros_like(z), jnp.zeros_like(z))


def _normal_log_prob(z, mean, log_variance):
  terms = -0.5 * (
    jnp.square(z - mean) * jnp.exp(-log_variance)
    + log_variance
    + jnp.log(2 * jnp.pi)
  )
  return terms.reshape(z.shape[0], -1).sum(axis=-1)


class VAE(bottleneck.ContinuousAutoencoder, kw_only=True):
  """A variational autoencoder (https://arxiv.org/abs/1312.6114).

  The prior is p(z) = N(0, I), the posterior q(z | x) is the normal distribution
  whose mean and log variance the encoder gives, and p(x | z) is the
  `likelihood` of the decoder's output.

  Attributes:
    likelihood: see `vq_jax.autoencoders.likelihoods`.

  The other attributes are those of
  `vq_jax.autoencoders.bottleneck.ContinuousAutoencoder`.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from vq_jax import autoencoders
    >>> model = autoencoders.VAE(
    ...   encoder=autoencoders.PatchEncoder(channels=8, blocks=0),
    ...   decoder=autoencoders.PatchDecoder(channels=8, blocks=0),
    ...   likelihood=autoencoders.Gaussian(),
    ...   latent_dim=2,
    ... )
    >>> image = jnp.zeros((1, 8, 8, 3))
    >>> (decoded, q), _ = model.init_with_output(jax.random.key(0), image)
    >>> decoded.shape, q.mean.shape
    ((1, 8, 8, 3), (1, 2, 2, 2))
  """

  likelihood: nn.Module

  _values_per_dim = 2

  def __call__(
    self, image: jax.Array, *, train: bool = False
  ) -> tuple[jax.Array, Gaussian]:
    """Returns the image decoded from the mean of q, and q."""
    q = self.encode(image, train=train)
    output = self.decode_output(q.mean)
    if self.is_initializing():  # a learned scale is a parameter
      self.likelihood(output, images.to_float(image))
    return self.likelihood.mean(output), q

  def encode(self, image: jax.Array, *, train: bool = False) -> Gaussian:
    """Returns q(z | x) of images [B, H, W, C], float in [0, 1] or uint8.

    Raises:
      ValueError: if H or W is not a multiple of `stride`, or the image does not
        have the size that `grid` requires.
    """
    del train
    both = self.to_latent(self.features(image)).astype(jnp.float32)
    mean, log_variance = jnp.split(both, 2, axis=-1)
    return Gaussian(mean=mean, log_variance=log_variance)

  def latents(self, image: jax.Array) -> jax.Array:
    """Returns the mean of q, float32 [B, D] or [B, h, w, D]."""
    return self.encode(image).mean

  def decode(self, z: jax.Array) -> jax.Array:
    """Decodes latents to the mean of p(x | z), float32 [B, H, W, C]."""
    return self.likelihood.mean(self.decode_output(z))

  def decode_output(self, z: jax.Array) -> jax.Array:
    """Returns the output of the decoder, the input of the likelihood."""
    return self.decoder(self.from_latent(z))

  def elbo_terms(
    self, image: jax.Array, keys: jax.Array
  ) -> tuple[jax.Array, Gaussian, jax.Array]:
    """Samples z ~ q(z | x) and returns what the evidence lower bound needs.

    The bound is E[log p(x | z)] - KL(q(z | x) || p(z)).

    Args:
      image: [B, H, W, C], float in [0, 1].
      keys: one key per example, [B].

    Returns:
      log p(x | z) [B] in nats, the distribution q(z | x), and the sample z.
    """
    q = self.encode(image)
    z = q.sample(keys)
    return self.likelihood(self.decode_output(z), image), q, z

  def log_weight(self, image: jax.Array, keys: jax.Array) -> jax.Array:
    """Returns log p(x | z) p(z) / q(z | x) of one sample z ~ q, [B] in nats.

    Its mean over z is the evidence lower bound; `vq_jax.losses.iwae_bound`
    combines several samples to a tighter bound.
    """
    log_p, q, z = self.elbo_terms(image, keys)
    return log_p + standard_log_prob(z) - q.log_prob(z)
