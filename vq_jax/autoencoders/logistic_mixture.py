"""A likelihood that is a mixture of logistic distributions."""

import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from vq_jax.autoencoders import likelihoods
from vq_jax.layers import checked
from vq_jax.utils import fields
from vq_jax.utils import images


class LogisticMixture(checked.CheckedModule):
  """A mixture of logistic distributions per pixel, conditional over channels.

  The likelihood of PixelCNN++ (https://arxiv.org/abs/1701.05517, 2.1 and 2.2).
  Each component has a mean and a scale per channel, and coefficients by which
  the errors of the channels before shift the mean of a channel. The error of a
  decoder is mostly one of brightness, which all channels share, so that green
  and blue need few bits once red is known. In the paper the coefficients weigh
  the values of the channels before, not their errors, and are bounded. Here the
  errors have mean 0, so that a shift does not change the mean of a component.

  Attributes:
    components: number of components of the mixture.
    scale: the scale of an output of 0, in units of the pixel range.
    smallest: lower bound of the scales.

  Example:
    >>> import jax.numpy as jnp
    >>> from vq_jax import autoencoders
    >>> likelihood = autoencoders.LogisticMixture(components=2)
    >>> likelihood.outputs(3)
    20
    >>> image = jnp.ones((2, 4, 4, 3))
    >>> likelihood.apply({}, jnp.zeros((2, 4, 4, 20)), image).shape
    (2,)
  """

  bins: ClassVar[int | None] = None
  components: fields.PositiveInt = 5
  scale: fields.PositiveFloat = 0.1
  smallest: fields.PositiveFloat = 1e-3

  def outputs(self, image_channels: int) -> int:
    """Returns the number of values per pixel."""
    pairs = image_channels * (image_channels - 1) // 2
    return self.components * (1 + 2 * image_channels + pairs)

  def __call__(self, output: jax.Array, image: jax.Array) -> jax.Array:
    """Returns the log-probability [B]; pixels are rounded to 256 values."""
    likelihoods.check_output(self, output, image)
    log_weights, means, relative, coefficients = self._parts(output)
    image = image[..., None, :]
    errors = image - means
    # A loop over the rows of the triangle; a scatter is slower on a CPU.
    shifted, used = [means[..., 0]], 0
    for channel in range(1, image.shape[-1]):
      row = coefficients[..., used : used + channel]
      shift = jnp.sum(row * errors[..., :channel], axis=-1)
      shifted.append(means[..., channel] + shift)
      used += channel
    means = jnp.stack(shifted, axis=-1)
    log_scales = likelihoods.log_scales(relative, self.scale, self.smallest)
    log_p = likelihoods.logistic_log_p(image, means, log_scales).sum(axis=-1)
    return jax.nn.logsumexp(log_weights + log_p, axis=-1).sum(axis=(1, 2))

  def in_unit_range(
    self, output: jax.Array, value_range: tuple[float, float]
  ) -> jax.Array:
    """Maps the components' means from `value_range` to [0, 1]."""
    logits, means, *rest = self._split(output)
    means = images.from_range(means, value_range)
    joined = jnp.concatenate([logits, means, *rest], axis=-1)
    return joined.reshape(output.shape)

  def mean(self, output: jax.Array) -> jax.Array:
    """Returns the mean of the components' means, weighted."""
    log_weights, means, *_ = self._parts(output)
    return jnp.sum(jnp.exp(log_weights)[..., None] * means, axis=-2)

  def _parts(self, output: jax.Array) -> tuple[jax.Array, ...]:
    """Returns log weights, means, relative scales, coefficients.

    The shapes are [..., M], [..., M, C], [..., M, C] and
    [..., M, C (C - 1) / 2] for M components.
    """
    logits, *rest = self._split(output.astype(jnp.float32))
    return jax.nn.log_softmax(logits[..., 0]), *rest

  def _split(self, output: jax.Array) -> list[jax.Array]:
    """Returns what `_parts` does, with logits [..., M, 1] for log weights."""
    each = output.reshape(*output.shape[:-1], self.components, -1)
    # Each component has 1 + C + C + C (C - 1) / 2 values; solved for C.
    channels = round((math.sqrt(8 * each.shape[-1] + 1) - 3) / 2)
    return jnp.split(each, np.cumsum([1, channels, channels]), axis=-1)
