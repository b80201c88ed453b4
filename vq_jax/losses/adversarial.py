"""Losses between an autoencoder (the generator) and a discriminator.

Logits are float [B, ...], one or several (for patches) per image, and large for
real images. Losses are float32 [B], averaged over the logits of an image.
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
  """The losses of generator and discriminator.

  Implementations are hashable, so that they can be static under jit.
  """

  def generator(self, fake_logits: jax.Array) -> jax.Array:
    """Returns the loss of the generator, float32 [B]."""

  def discriminator(
    self, real_logits: jax.Array, fake_logits: jax.Array
  ) -> jax.Array:
    """Returns the loss of the discriminator, float32 [B]."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hinge:
  """The hinge loss (https://arxiv.org/abs/1705.02894).

    generator:      -fake
    discriminator:  (relu(1 - real) + relu(1 + fake)) / 2

  The factor 1 / 2 is that of taming-transformers.

  Example:
    >>> import jax.numpy as jnp
    >>> from vq_jax import losses
    >>> loss = losses.Hinge()
    >>> loss.discriminator(jnp.array([2.0]), jnp.array([0.5])).tolist()
    [0.75]
  """

  def generator(self, fake_logits: jax.Array) -> jax.Array:
    """Returns the loss of the generator, float32 [B]."""
    return -_mean_per_image(fake_logits)

  def discriminator(
    self, real_logits: jax.Array, fake_logits: jax.Array
  ) -> jax.Array:
    """Returns the loss of the discriminator, float32 [B]."""
    real, fake = jax.nn.relu(1 - real_logits), jax.nn.relu(1 + fake_logits)
    return 0.5 * (_mean_per_image(real) + _mean_per_image(fake))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Vanilla:
  """The 'vanilla' loss of taming-transformers.

    generator:      -fake
    discriminator:  (softplus(-real) + softplus(fake)) / 2

  Example:
    >>> import jax.numpy as jnp
    >>> from vq_jax import losses
    >>> losses.Vanilla().generator(jnp.array([[1.0, 3.0]])).tolist()
    [-2.0]
  """

  def generator(self, fake_logits: jax.Array) -> jax.Array:
    """Returns the loss of the generator, float32 [B]."""
    return -_mean_per_image(fake_logits)

  def discriminator(
    self, real_logits: jax.Array, fake_logits: jax.Array
  ) -> jax.Array:
    """Returns the loss of the discriminator, float32 [B]."""
    return 0.5 * _cross_entropy(real_logits, fake_logits)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NonSaturating:
  """The non-saturating loss (https://arxiv.org/abs/1406.2661, section 3).

    generator:      softplus(-fake)
    discriminator:  softplus(-real) + softplus(fake)

  MaskGIT, MAGVIT and StyleGAN use it.

  Example:
    >>> import jax.numpy as jnp
    >>> from vq_jax import losses
    >>> losses.NonSaturating().generator(jnp.array([0.0])).round(3).tolist()
    [0.6930000185966492]
  """

  def generator(self, fake_logits: jax.Array) -> jax.Array:
    """Returns the loss of the generator, float32 [B]."""
    return _mean_per_image(jax.nn.softplus(-fake_logits))

  def discriminator(
    self, real_logits: jax.Array, fake_logits: jax.Array
  ) -> jax.Array:
    """Returns the loss of the discriminator, float32 [B]."""
    return _cross_entropy(real_logits, fake_logits)


def r1_penalty(
  discriminate: Callable[[jax.Array], jax.Array], image: jax.Array
) -> jax.Array:
  """Returns the R1 gradient penalty (https://arxiv.org/abs/1801.04406).

    |d logit / d image|^2, summed over pixels

  It is without the factor 1 / 2 of the paper. Next to `NonSaturating`, MaskGIT
  and MAGVIT use a weight of 10; StyleGAN2's gamma of 10 is a weight of 5;
  enhancing-transformers has gamma 10 next to half of these two losses, which is
  a weight of 10 next to the whole.

  The penalty depends on the range of `image`: in [-1, 1] it is a quarter of
  that in [0, 1].

  The gradient is that of the sum of all logits of the batch. With batch norm or
  a minibatch standard deviation, an image also changes the logits of other
  images, and the penalty includes that.

  Args:
    discriminate: image -> logits [B, ...]; the logits of an image are summed.
    image: float [B, H, W, C], real images.

  Returns:
    float32 [B].
  """
  grad = jax.grad(lambda x: discriminate(x).astype(jnp.float32).sum())(image)
  grad = grad.astype(jnp.float32)
  return jnp.square(grad).reshape(len(grad), -1).sum(axis=-1)


@flax.struct.dataclass
class LogitMeans:
  """Exponential moving averages of the logits of a discriminator.

  Attributes:
    real: float32 [], for real images.
    fake: float32 [], for reconstructed images.
  """

  real: jax.Array
  fake: jax.Array

  @classmethod
  def zeros(cls) -> 'LogitMeans':
    """Returns the initial averages."""
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
      decay: decay of the averages, in [0, 1].
      axis_name: axis of the replicas, under pmap.
    """
    logits = LogitMeans(real=real_logits, fake=fake_logits)
    means = jax.tree.map(lambda x: x.astype(jnp.float32).mean(), logits)
    means = jax.lax.stop_gradient(replicas.pmean(means, axis_name))
    return trees.ema(self, means, decay)


def lecam(
  real_logits: jax.Array, fake_logits: jax.Array, means: LogitMeans
) -> jax.Array:
  """Returns the LeCam regularisation (https://arxiv.org/abs/2104.03310).

    relu(real - E[fake])^2 + relu(E[real] - fake)^2

  It keeps the discriminator from becoming too confident. The relu is that of
  the authors' code; the averages are constants.

  Args:
    real_logits: float [B, ...].
    fake_logits: float [B, ...].
    means: averages of the logits of earlier batches.

  Returns:
    float32 [B].
  """
  means = jax.lax.stop_gradient(means)
  real = jnp.square(jax.nn.relu(real_logits - means.fake))
  fake = jnp.square(jax.nn.relu(means.real - fake_logits))
  return _mean_per_image(real) + _mean_per_image(fake)


def adaptive_weight(
  reconstruction_grad: jax.Array,
  adversarial_grad: jax.Array,
  limit: float = 1e4,
  epsilon: float = 1e-4,
) -> jax.Array:
  """Returns the adaptive weight of VQGAN's adversarial loss.

    |reconstruction_grad| / (|adversarial_grad| + epsilon)

  With this weight, both losses have gradients of equal norm at the last layer
  of the decoder: Esser et al. 2021, equation 7
  (https://arxiv.org/abs/2012.09841).

  Args:
    reconstruction_grad: gradient of all losses but the adversarial one; under
      pmap averaged over the replicas.
    adversarial_grad: gradient of the adversarial loss; under pmap averaged over
      the replicas.
    limit: the largest weight.
    epsilon: avoids a division by zero.

  Returns:
    float32 [], in [0, limit], without a gradient.

  Example:
    >>> import jax.numpy as jnp
    >>> from vq_jax import losses
    >>> losses.adaptive_weight(jnp.array([4.0]), jnp.array([2.0])).round(3)
    Array(2., dtype=float32)
  """
  norms = [
    jnp.linalg.norm(gradient.astype(jnp.float32).ravel())
    for gradient in (reconstruction_grad, adversarial_grad)
  ]
  weight = jnp.clip(norms[0] / (norms[1] + epsilon), 0, limit)
  return jax.lax.stop_gradient(weight)


def _mean_per_image(values: jax.Array) -> jax.Array:
  """Averages over all axes but the first: [B, ...] -> float32 [B]."""
  return values.astype(jnp.float32).reshape(len(values), -1).mean(axis=-1)


def _cross_entropy(real_logits: jax.Array, fake_logits: jax.Array) -> jax.Array:
  real, fake = jax.nn.softplus(-real_logits), jax.nn.softplus(fake_logits)
  return _mean_per_image(real) + _mean_per_image(fake)
