"""What an autoencoder and a discriminator tell each other.

Logits are float [B, ...], one or several (of patches) per image; large is real.
Losses are float32 [B], averaged over the logits of an image.
"""

import dataclasses
from collections.abc import Callable
from typing import Protocol

import flax.struct
import jax
import jax.numpy as jnp

from vq_jax.utils import replicas
from vq_jax.utils import trees


class AdversarialLoss(Protocol):
  """What each side minimises: hashable, hence static under jit."""

  def generator(self, fake_logits: jax.Array) -> jax.Array:
    """Returns the loss [B] of who made the images."""

  def discriminator(
    self, real_logits: jax.Array, fake_logits: jax.Array
  ) -> jax.Array:
    """Returns the loss [B] of who judges them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hinge:
  """(relu(1 - real) + relu(1 + fake)) / 2 against -fake (Lim and Ye 2017).

  The half is that of taming-transformers.
  """

  def generator(self, fake_logits: jax.Array) -> jax.Array:
    """See `AdversarialLoss`."""
    return -_per_image(fake_logits)

  def discriminator(
    self, real_logits: jax.Array, fake_logits: jax.Array
  ) -> jax.Array:
    """See `AdversarialLoss`; logits beyond 1 and -1 are good enough."""
    real, fake = jax.nn.relu(1 - real_logits), jax.nn.relu(1 + fake_logits)
    return 0.5 * (_per_image(real) + _per_image(fake))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Vanilla:
  """(softplus(-real) + softplus(fake)) / 2 against -fake.

  Both the half and the generator's plain logit, whose slope never fades, are
  those of taming-transformers.
  """

  def generator(self, fake_logits: jax.Array) -> jax.Array:
    """See `AdversarialLoss`."""
    return -_per_image(fake_logits)

  def discriminator(
    self, real_logits: jax.Array, fake_logits: jax.Array
  ) -> jax.Array:
    """See `AdversarialLoss`: half the cross-entropy."""
    return 0.5 * _cross_entropy(real_logits, fake_logits)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NonSaturating:
  """softplus(-real) + softplus(fake) against softplus(-fake).

  Goodfellow et al. 2014, section 3; MaskGIT, MAGVIT and StyleGAN.
  """

  def generator(self, fake_logits: jax.Array) -> jax.Array:
    """See `AdversarialLoss`: -log p(real)."""
    return _per_image(jax.nn.softplus(-fake_logits))

  def discriminator(
    self, real_logits: jax.Array, fake_logits: jax.Array
  ) -> jax.Array:
    """See `AdversarialLoss`: the cross-entropy."""
    return _cross_entropy(real_logits, fake_logits)


def r1_penalty(
  discriminate: Callable[[jax.Array], jax.Array], image: jax.Array
) -> jax.Array:
  """Returns the squared length of the logit's slope (Mescheder et al. 2018).

  |d logit / d image|^2, summed over pixels, without the half of the paper: the
  weight is the caller's. Beside softplus(-real) + softplus(fake), as in
  `NonSaturating`, MaskGIT and MAGVIT have a weight of 10, and StyleGAN2's gamma
  10 is one of 5; enhancing-transformers has gamma 10 beside half of these two,
  so a weight of 10 beside the whole. It counts in the range of `image`: in
  [-1, 1] it would be a quarter of that in [0, 1].

  The slope is that of the sum over the batch, as everyone takes it: with a
  batch norm or a minibatch standard deviation an image moves the logits of
  others too, and all of it is in the penalty.

  Args:
    discriminate: image -> logits [B, ...]; those of an image are summed.
    image: float [B, H, W, C], real ones.

  Returns:
    float32 [B].
  """
  slope = jax.grad(lambda x: discriminate(x).astype(jnp.float32).sum())(image)
  slope = slope.astype(jnp.float32)
  return jnp.square(slope).reshape(len(slope), -1).sum(axis=-1)


@flax.struct.dataclass
class LogitMeans:
  """Moving averages of a discriminator's logits.

  Attributes:
    real: float32 [], of real images.
    fake: float32 [], of reconstructed ones.
  """

  real: jax.Array
  fake: jax.Array

  @classmethod
  def zeros(cls) -> 'LogitMeans':
    """Returns where the averages begin."""
    return cls(real=jnp.zeros(()), fake=jnp.zeros(()))

  def update(
    self,
    real_logits: jax.Array,
    fake_logits: jax.Array,
    decay: float,
    axis_name: str | None = None,
  ) -> 'LogitMeans':
    """Returns decay * average + (1 - decay) * mean of this batch's logits.

    Args:
      real_logits: float [B, ...].
      fake_logits: float [B, ...].
      decay: how much of the past is kept.
      axis_name: the replicas' axis.
    """
    logits = LogitMeans(real=real_logits, fake=fake_logits)
    means = jax.tree.map(lambda x: x.astype(jnp.float32).mean(), logits)
    means = jax.lax.stop_gradient(replicas.pmean(means, axis_name))
    return trees.ema(self, means, decay)


def lecam(
  real_logits: jax.Array, fake_logits: jax.Array, means: LogitMeans
) -> jax.Array:
  """Returns relu(real - mean fake)^2 + relu(mean real - fake)^2: [B].

  Holds a discriminator back that tells all too well (Tseng et al. 2021, with
  the relu of the authors' code: logits that overlap cost nothing). The averages
  are constants here.
  """
  means = jax.lax.stop_gradient(means)
  real = jnp.square(jax.nn.relu(real_logits - means.fake))
  fake = jnp.square(jax.nn.relu(means.real - fake_logits))
  return _per_image(real) + _per_image(fake)


def adaptive_weight(
  reconstruction_grad: jax.Array,
  adversarial_grad: jax.Array,
  limit: float = 1e4,
  epsilon: float = 1e-4,
) -> jax.Array:
  """Returns |reconstruction_grad| / (|adversarial_grad| + epsilon).

  With this weight both losses pull equally hard at the layer whose gradients
  these are: the decoder's last (Esser et al. 2021, eq. 7). It is a constant.

  Args:
    reconstruction_grad: the gradient of all but the adversarial loss; under
      pmap averaged over the replicas.
    adversarial_grad: that of the adversarial loss, likewise.
    limit: the largest weight.
    epsilon: keeps the weight finite.

  Returns:
    float32 [], in [0, limit].
  """
  lengths = [
    jnp.linalg.norm(gradient.astype(jnp.float32).ravel())
    for gradient in (reconstruction_grad, adversarial_grad)
  ]
  weight = jnp.clip(lengths[0] / (lengths[1] + epsilon), 0, limit)
  return jax.lax.stop_gradient(weight)


def _per_image(values: jax.Array) -> jax.Array:
  """Returns the mean of each image's values: [B, ...] -> float32 [B]."""
  return values.astype(jnp.float32).reshape(len(values), -1).mean(axis=-1)


def _cross_entropy(real_logits: jax.Array, fake_logits: jax.Array) -> jax.Array:
  real, fake = jax.nn.softplus(-real_logits), jax.nn.softplus(fake_logits)
  return _per_image(real) + _per_image(fake)
