"""What a decoder says of an image: log p(x | z), and the mean image.

A likelihood is a module: `likelihood(output, image) -> log p [B]` in nats,
summed over pixels and channels, and `mean(output) -> image in [0, 1]`, where
`output` float [B, H, W, outputs(C)] is what the decoder gives for images of C
channels. Images are float in [0, 1]. A decoder whose pixels lie in another
range needs `in_unit_range(output, value_range)` first: it maps the pixels among
the numbers to [0, 1], and leaves logits, scales, weights and coefficients as
they are. `bins` is None where p is a probability,
or the number of values a pixel has where p is a density over [0, 1]: a value's
share of it is then p / bins.
"""

import math
from typing import Annotated
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.layers import checked
from vq_jax.utils import fields
from vq_jax.utils import images

_PIXEL_AXES = (1, 2, 3)


def check_output(
  likelihood: nn.Module, output: jax.Array, image: jax.Array
) -> None:
  """Raises ValueError unless an output fits images: nothing broadcasts."""
  want = (*image.shape[:-1], likelihood.outputs(image.shape[-1]))
  if output.shape != want:
    raise ValueError(
      f'{type(likelihood).__name__} takes outputs {want} for images '
      f'{image.shape}; got {output.shape}. Set the channels of the decoder.'
    )


class _PerChannel(checked.CheckedModule):
  """A likelihood that takes some numbers for each channel of a pixel.

  The first of them is a pixel itself unless `has_pixels` is False.
  """

  per_channel: ClassVar[int] = 1
  has_pixels: ClassVar[bool] = True

  def outputs(self, image_channels: int) -> int:
    """Returns how many numbers a pixel takes."""
    return self.per_channel * image_channels

  def in_unit_range(
    self, output: jax.Array, value_range: tuple[float, float]
  ) -> jax.Array:
    """Maps the pixels among the numbers from their range to [0, 1]."""
    if not self.has_pixels:
      return output
    pixels, *rest = jnp.split(output, self.per_channel, axis=-1)
    pixels = images.from_range(pixels, value_range)
    return jnp.concatenate([pixels, *rest], axis=-1)


class Bernoulli(_PerChannel):
  """Each pixel is the probability of white (Kingma and Welling 2014, C.1).

  `output` are logits. On pixels that are not 0 or 1 this is a cross-entropy
  rather than the probability of the image.
  """

  bins: ClassVar[int | None] = None
  has_pixels: ClassVar[bool] = False

  def __call__(self, output: jax.Array, image: jax.Array) -> jax.Array:
    """Returns sum x log s + (1 - x) log (1 - s), s = sigmoid(output): [B]."""
    check_output(self, output, image)
    output = output.astype(jnp.float32)
    log_p = image * output - jax.nn.softplus(output)
    return log_p.sum(axis=_PIXEL_AXES)

  def mean(self, output: jax.Array) -> jax.Array:
    """Returns the probabilities."""
    return jax.nn.sigmoid(output.astype(jnp.float32))


def _log_scale(module: nn.Module, initial: float) -> jax.Array:
  """One learned scale for all pixels."""

  def init(rng):
    del rng
    return jnp.full((), math.log(initial), jnp.float32)

  return module.param('log_scale', init)


class Gaussian(_PerChannel):
  """A normal density around each pixel (Kingma and Welling 2014, C.2).

  Attributes:
    scale: standard deviation in units of the pixel range; where it is learned,
      its start.
    learned: whether one scale for all pixels is a parameter. It then settles at
      the root mean square error (Rybkin et al. 2021).
  """

  bins: ClassVar[int | None] = 256
  scale: fields.PositiveFloat = 0.1
  learned: bool = True

  @nn.compact
  def __call__(self, output: jax.Array, image: jax.Array) -> jax.Array:
    """Returns the log density [B]."""
    check_output(self, output, image)
    log_scale = math.log(self.scale)
    if self.learned:
      log_scale = _log_scale(self, self.scale)
    error = (image - output.astype(jnp.float32)) * jnp.exp(-log_scale)
    log_p = -0.5 * jnp.square(error) - log_scale - 0.5 * math.log(2 * math.pi)
    return log_p.sum(axis=_PIXEL_AXES)

  def mean(self, output: jax.Array) -> jax.Array:
    """Returns the output itself."""
    return output.astype(jnp.float32)


class DiscretizedLogistic(_PerChannel):
  """The probability of each of the 256 pixel values (Kingma et al. 2016, C.1).

  A logistic density around `output`, integrated over the value's bin; the
  first and the last bin hold the tails, so the values' probabilities sum to 1.

  Attributes:
    scale: of the logistic, in units of the pixel range; where it is learned,
      its start.
    learned: whether one scale for all pixels is a parameter.
  """

  bins: ClassVar[int | None] = None
  scale: fields.PositiveFloat = 0.1
  learned: bool = True

  @nn.compact
  def __call__(self, output: jax.Array, image: jax.Array) -> jax.Array:
    """Returns the log probability [B]; pixels are rounded to 256 values."""
    check_output(self, output, image)
    log_scale = jnp.float32(math.log(self.scale))
    if self.learned:
      log_scale = _log_scale(self, self.scale)
    log_p = logistic_log_p(image, output.astype(jnp.float32), log_scale)
    return log_p.sum(axis=_PIXEL_AXES)

  def mean(self, output: jax.Array) -> jax.Array:
    """Returns the centre of the logistic."""
    return output.astype(jnp.float32)


class PixelwiseLogistic(_PerChannel):
  """A `DiscretizedLogistic` whose scale the decoder tells for each pixel.

  The first half of the output's channels are centres, the second half
  logarithms of scales, relative to `scale`: so a smooth sky costs less than
  foliage (Salimans et al. 2017, PixelCNN++, 2.1, with one logistic).

  Attributes:
    scale: where an output of 0 puts it, in units of the pixel range.
    smallest: the least scale; below a pixel's step more is won by rounding than
      by knowing.
  """

  bins: ClassVar[int | None] = None
  per_channel: ClassVar[int] = 2
  scale: fields.PositiveFloat = 0.1
  smallest: fields.PositiveFloat = 1e-3

  def __call__(self, output: jax.Array, image: jax.Array) -> jax.Array:
    """Returns the log probability [B]; pixels are rounded to 256 values."""
    check_output(self, output, image)
    centre, relative = jnp.split(output.astype(jnp.float32), 2, axis=-1)
    log_scale = log_scales(relative, self.scale, self.smallest)
    return logistic_log_p(image, centre, log_scale).sum(axis=_PIXEL_AXES)

  def mean(self, output: jax.Array) -> jax.Array:
    """Returns the centres."""
    return jnp.split(output.astype(jnp.float32), 2, axis=-1)[0]


class LogitLaplace(_PerChannel):
  """A Laplace density of a pixel's logit (Ramesh et al. 2021, DALL-E, A.3).

  Pixels x are squeezed to (1 - 2 margin) x + margin, whose logit is finite. The
  first half of the output's channels are the logits' centres, the second half
  logarithms of scales.

  Attributes:
    margin: how far pixels keep from 0 and 1.
    smallest: the least scale.
  """

  bins: ClassVar[int | None] = 256
  has_pixels: ClassVar[bool] = False
  per_channel: ClassVar[int] = 2
  margin: Annotated[float, fields.Range(above=0, most=0.49)] = 0.1
  smallest: fields.PositiveFloat = 1e-3

  def __call__(self, output: jax.Array, image: jax.Array) -> jax.Array:
    """Returns the log density [B] over [0, 1]."""
    check_output(self, output, image)
    centre, log_scale = jnp.split(output.astype(jnp.float32), 2, axis=-1)
    log_scale = jnp.maximum(log_scale, math.log(self.smallest))
    room = 1 - 2 * self.margin
    x = room * image + self.margin
    error = jnp.abs(jax.scipy.special.logit(x) - centre)
    log_p = -error * jnp.exp(-log_scale) - log_scale - math.log(2)
    log_p += math.log(room) - jnp.log(x) - jnp.log1p(-x)
    return log_p.sum(axis=_PIXEL_AXES)

  def mean(self, output: jax.Array) -> jax.Array:
    """Returns the pixels whose logits are the centres: the medians."""
    centre = jnp.split(output.astype(jnp.float32), 2, axis=-1)[0]
    return (jax.nn.sigmoid(centre) - self.margin) / (1 - 2 * self.margin)


def log_scales(relative: jax.Array, scale: float, smallest: float) -> jax.Array:
  """Returns the logarithms of scales, none smaller than the smallest."""
  return jnp.maximum(relative + math.log(scale), math.log(smallest))


def logistic_log_p(
  image: jax.Array, centre: jax.Array, log_scale: jax.Array
) -> jax.Array:
  """Returns the log probability of each pixel's value, of the 256 there are."""
  value = jnp.round(image * 255)
  centred = value / 255 - centre
  upper = (centred + 0.5 / 255) * jnp.exp(-log_scale)
  lower = (centred - 0.5 / 255) * jnp.exp(-log_scale)
  # log (s(u) - s(l)) without cancellation, s the logistic function:
  # s(u) - s(l) = s(u) s(-l) (1 - exp(l - u)).
  width = jnp.exp(-log_scale) / 255
  inside = (
    jax.nn.log_sigmoid(upper)
    + jax.nn.log_sigmoid(-lower)
    + jnp.log(-jnp.expm1(-width))
  )
  return jnp.where(
    value == 0,
    jax.nn.log_sigmoid(upper),
    jnp.where(value == 255, jax.nn.log_sigmoid(-lower), inside),
  )


def outputs(likelihood: nn.Module | None, image_channels: int) -> int:
  """Returns how many numbers for a pixel a decoder gives."""
  if likelihood is None:
    return image_channels
  return likelihood.outputs(image_channels)
