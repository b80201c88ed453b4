"""A mixture of logistics for each pixel; see `likelihoods` for what that is."""

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
  """A mixture of logistics, the channels of a pixel one after the other.

  Salimans et al. 2017, PixelCNN++, 2.1 and 2.2: each component holds a centre
  and a scale for each channel, and says how far the error of the channels
  before moves a channel's centre. What a decoder does not know of a pixel is
  mostly its brightness, which all channels share, so that green and blue cost
  little once red is known. Unlike the paper the coefficients weigh the error of
  the channels before, not their values, and have no bound: the mean of a
  component is then its centre.

  Attributes:
    components: of the mixture.
    scale: where an output of 0 puts a scale, in units of the pixel range.
    smallest: the least scale.
  """

  bins: ClassVar[int | None] = None
  components: fields.PositiveInt = 5
  scale: fields.PositiveFloat = 0.1
  smallest: fields.PositiveFloat = 1e-3

  def outputs(self, image_channels: int) -> int:
    """Returns how many numbers a pixel takes."""
    pairs = image_channels * (image_channels - 1) // 2
    return self.components * (1 + 2 * image_channels + pairs)

  def __call__(self, output: jax.Array, image: jax.Array) -> jax.Array:
    """Returns the log probability [B]; pixels are rounded to 256 values."""
    likelihoods.check_output(self, output, image)
    log_weights, centres, relative, coefficients = self._parts(output)
    image = image[..., None, :]
    errors = image - centres
    # Row by row of the lower triangle: a scatter is slower on a CPU.
    moved, used = [centres[..., 0]], 0
    for channel in range(1, image.shape[-1]):
      row = coefficients[..., used : used + channel]
      shift = jnp.sum(row * errors[..., :channel], axis=-1)
      moved.append(centres[..., channel] + shift)
      used += channel
    centres = jnp.stack(moved, axis=-1)
    log_scales = likelihoods.log_scales(relative, self.scale, self.smallest)
    log_p = likelihoods.logistic_log_p(image, centres, log_scales).sum(axis=-1)
    return jax.nn.logsumexp(log_weights + log_p, axis=-1).sum(axis=(1, 2))

  def in_unit_range(
    self, output: jax.Array, value_range: tuple[float, float]
  ) -> jax.Array:
    """Maps the components' centres from the range of the pixels to [0, 1]."""
    logits, centres, *rest = self._split(output)
    centres = images.from_range(centres, value_range)
    joined = jnp.concatenate([logits, centres, *rest], axis=-1)
    return joined.reshape(output.shape)

  def mean(self, output: jax.Array) -> jax.Array:
    """Returns the components' centres, each by its weight."""
    log_weights, centres, *_ = self._parts(output)
    return jnp.sum(jnp.exp(log_weights)[..., None] * centres, axis=-2)

  def _parts(self, output: jax.Array) -> tuple[jax.Array, ...]:
    """Returns log weights, centres, relative scales, coefficients.

    Shapes [..., K], [..., K, C], [..., K, C], [..., K, C (C - 1) / 2].
    """
    logits, *rest = self._split(output.astype(jnp.float32))
    return jax.nn.log_softmax(logits[..., 0]), *rest

  def _split(self, output: jax.Array) -> list[jax.Array]:
    """Returns the numbers of each component; see `_parts`, but [..., K, 1]."""
    each = output.reshape(*output.shape[:-1], self.components, -1)
    # 1 + C + C + C (C - 1) / 2 numbers, solved for C.
    channels = round((math.sqrt(8 * each.shape[-1] + 1) - 3) / 2)
    return jnp.split(each, np.cumsum([1, channels, channels]), axis=-1)
