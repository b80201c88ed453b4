"""Likelihoods p(x | z) of an image x given the output of a decoder.

A likelihood is a module. `likelihood(output, image)` returns log p(x | z) [B]
in nats, the sum over pixels and channels, and `mean(output)` an image in [0,
1]. The output of the decoder is float [B, H, W, outputs(C)] for images of C
channels, which are float in [0, 1]. If the decoder's pixels are in another
range, `in_unit_range(output, value_range)` maps those values of the output that
are pixels to [0, 1], and leaves logits, scales, weights and coefficients
unchanged. `bins` is None if p is a probability; if p is a density over [0, 1],
`bins` is the number of values of a pixel, and the probability of a value is
about p / bins.
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
  """Raises ValueError unless the shapes of output and image are consistent."""
  want = (*image.shape[:-1], likelihood.outputs(image.shape[-1]))
  if output.shape != want:
    raise ValueError(
      f'{type(likelihood).__name__} needs outputs {want} for images '
      f'{image.shape}; got {output.shape}. Set the channels of the decoder.'
    )


class _PerChannel(checked.CheckedModule):
  """A likelihood with a fixed number of values per channel of a pixel.

  The first of them is the pixel itself unless `has_pixels` is False.
  """

  per_channel: ClassVar[int] = 1
  has_pixels: ClassVar[bool] = True

  def outputs(self, image_channels: int) -> int:
    """Returns the number of values per pixel."""
    return self.per_channel * image_channels

  def in_unit_range(
    self, output: jax.Array, value_range: tuple[float, float]
  ) -> jax.Array:
    """Maps those values that are pixels from their range to [0, 1]."""
    if not self.has_pixels:
      return output
    pixels, *rest = jnp.split(output, self.per_channel, axis=-1)
    pixels = images.from_range(pixels, value_range)
    return jnp.concatenate([pixels, *rest], axis=-1)


class Bernoulli(_PerChannel):
  """A Bernoulli distribution (https://arxiv.org/abs/1312.6114, C.1).

  `output` has logits. For pixels other than 0 and 1 this is a cross-entropy and
  not the log-probability of the image.

  Example:
    >>> import jax.numpy as jnp
    >>> from vq_jax import autoencoders
    >>> image = jnp.ones((2, 4, 4, 1))
    >>> log_p = autoencoders.Bernoulli().apply({}, jnp.zeros_like(image), image)
    >>> [round(float(x), 3) for x in log_p]  # 16 log(1/2)
    [-11.09, -11.09]
  """

  bins: ClassVar[int | None] = None
  has_pixels: ClassVar[bool] = False

  def __call__(self, output: jax.Array, image: jax.Array) -> jax.Array:
    """Returns sum x log s + (1 - x) log (1 - s), s = sigmoid(output), [B]."""
    check_output(self, output, image)
    output = output.astype(jnp.float32)
    log_p = image * output - jax.nn.softplus(output)
    return log_p.sum(axis=_PIXEL_AXES)

  def mean(self, output: jax.Array) -> jax.Array:
    """Returns the probabilities."""
    return jax.nn.sigmoid(output.astype(jnp.float32))


def _log_scale(
  likelihood: 'Gaussian | DiscretizedLogistic',
) -> jax.Array:
  """Returns log `scale`, [], which is a parameter if it is `learned`."""
  log_scale = jnp.float32(math.log(likelihood.scale))
  if not likelihood.learned:
    return log_scale
  return likelihood.param('log_scale', lambda rng: log_scale)


class Gaussian(_PerChannel):
  """A normal density (https://arxiv.org/abs/1312.6114, C.2).

  Attributes:
    scale: standard deviation in units of the pixel range; its initial value if
      it is learned.
    learned: whether the scale, which all pixels share, is a parameter. It
      converges to the root mean square error (sigma-VAE,
      https://arxiv.org/abs/2006.13202).

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from vq_jax import autoencoders
    >>> image = jnp.ones((2, 4, 4, 1))
    >>> log_p, variables = autoencoders.Gaussian().init_with_output(
    ...   jax.random.key(0), image, image
    ... )
    >>> list(variables['params'])
    ['log_scale']
  """

  bins: ClassVar[int | None] = 256
  scale: fields.PositiveFloat = 0.1
  learned: bool = True

  @nn.compact
  def __call__(self, output: jax.Array, image: jax.Array) -> jax.Array:
    """Returns the log density [B]."""
    check_output(self, output, image)
    log_scale = _log_scale(self)
    error = (image - output.astype(jnp.float32)) * jnp.exp(-log_scale)
    log_p = -0.5 * jnp.square(error) - log_scale - 0.5 * math.log(2 * math.pi)
    return log_p.sum(axis=_PIXEL_AXES)

  def mean(self, output: jax.Array) -> jax.Array:
    """Returns the means."""
    return output.astype(jnp.float32)


class DiscretizedLogistic(_PerChannel):
  """The probability of each of the 256 values of a pixel.

  It is the integral of a logistic density with mean `output` over the bin of
  the value (https://arxiv.org/abs/1606.04934, C.1). The first and the last bin
  contain the tails, so that the probabilities of all values sum to 1.

  Attributes:
    scale: scale of the logistic density in units of the pixel range; its
      initial value if it is learned.
    learned: whether the scale, which all pixels share, is a parameter.

  Example:
    >>> import jax.numpy as jnp
    >>> from vq_jax import autoencoders
    >>> likelihood = autoencoders.DiscretizedLogistic(learned=False)
    >>> values = jnp.arange(256.0).reshape(256, 1, 1, 1) / 255
    >>> log_p = likelihood.apply({}, jnp.full_like(values, 0.5), values)
    >>> round(float(jnp.exp(log_p).sum()), 3)
    1.0
  """

  bins: ClassVar[int | None] = None
  scale: fields.PositiveFloat = 0.1
  learned: bool = True

  @nn.compact
  def __call__(self, output: jax.Array, image: jax.Array) -> jax.Array:
    """Returns the log-probability [B]; pixels are rounded to 256 values."""
    check_output(self, output, image)
    log_scale = _log_scale(self)
    log_p = logistic_log_p(image, output.astype(jnp.float32), log_scale)
    return log_p.sum(axis=_PIXEL_AXES)

  def mean(self, output: jax.Array) -> jax.Array:
    """Returns the means."""
    return output.astype(jnp.float32)


class PixelwiseLogistic(_PerChannel):
  """`DiscretizedLogistic` with a scale per channel, given by the decoder.

  The first half of the output's channels are means, and the second half are log
  scales relative to log `scale`. Smooth regions of an image can then have a
  smaller scale than textured ones. It is the mixture of PixelCNN++
  (https://arxiv.org/abs/1701.05517, 2.1) with one component.

  Attributes:
    scale: the scale of an output of 0, in units of the pixel range.
    smallest: lower bound of the scales. With a scale far below 1 / 255 the
      likelihood rewards the reproduction of the rounding to 256 values.

  Example:
    >>> import jax.numpy as jnp
    >>> from vq_jax import autoencoders
    >>> likelihood = autoencoders.PixelwiseLogistic()
    >>> likelihood.outputs(3)
    6
    >>> image = jnp.ones((2, 4, 4, 3))
    >>> likelihood.apply({}, jnp.zeros((2, 4, 4, 6)), image).shape
    (2,)
  """

  bins: ClassVar[int | None] = None
  per_channel: ClassVar[int] = 2
  scale: fields.PositiveFloat = 0.1
  smallest: fields.PositiveFloat = 1e-3

  def __call__(self, output: jax.Array, image: jax.Array) -> jax.Array:
    """Returns the log-probability [B]; pixels are rounded to 256 values."""
    check_output(self, output, image)
    mean, relative = jnp.split(output.astype(jnp.float32), 2, axis=-1)
    log_scale = log_scales(relative, self.scale, self.smallest)
    return logistic_log_p(image, mean, log_scale).sum(axis=_PIXEL_AXES)

  def mean(self, output: jax.Array) -> jax.Array:
    """Returns the means."""
    return jnp.split(output.astype(jnp.float32), 2, axis=-1)[0]


class LogitLaplace(_PerChannel):
  """A Laplace density of the logit of a pixel.

  The likelihood of DALL-E (https://arxiv.org/abs/2102.12092, A.3). Pixels x are
  mapped to (1 - 2 margin) x + margin, whose logit is finite. The first half of
  the output's channels are means of the logits, the second half log scales.

  Attributes:
    margin: distance of the mapped pixels from 0 and 1.
    smallest: lower bound of the scales.

  Example:
    >>> import jax.numpy as jnp
    >>> from vq_jax import autoencoders
    >>> image = jnp.ones((2, 4, 4, 3))
    >>> output = jnp.zeros((2, 4, 4, 6))
    >>> autoencoders.LogitLaplace().apply({}, output, image).shape
    (2,)
  """

  bins: ClassVar[int | None] = 256
  has_pixels: ClassVar[bool] = False
  per_channel: ClassVar[int] = 2
  margin: Annotated[float, fields.Range(above=0, most=0.49)] = 0.1
  smallest: fields.PositiveFloat = 1e-3

  def __call__(self, output: jax.Array, image: jax.Array) -> jax.Array:
    """Returns the log density [B] over [0, 1]."""
    check_output(self, output, image)
    mean, log_scale = jnp.split(output.astype(jnp.float32), 2, axis=-1)
    log_scale = jnp.maximum(log_scale, math.log(self.smallest))
    slope = 1 - 2 * self.margin
    x = slope * image + self.margin
    error = jnp.abs(jax.scipy.special.logit(x) - mean)
    log_p = -error * jnp.exp(-log_scale) - log_scale - math.log(2)
    log_p += math.log(slope) - jnp.log(x) - jnp.log1p(-x)
    return log_p.sum(axis=_PIXEL_AXES)

  def mean(self, output: jax.Array) -> jax.Array:
    """Returns the medians, the pixels whose logits are the means."""
    mean = jnp.split(output.astype(jnp.float32), 2, axis=-1)[0]
    return (jax.nn.sigmoid(mean) - self.margin) / (1 - 2 * self.margin)


def log_scales(relative: jax.Array, scale: float, smallest: float) -> jax.Array:
  """Returns log scales, bounded from below by log `smallest`."""
  return jnp.maximum(relative + math.log(scale), math.log(smallest))


def logistic_log_p(
  image: jax.Array, mean: jax.Array, log_scale: jax.Array
) -> jax.Array:
  """Returns the log-probability of each pixel, one of 256 values."""
  value = jnp.round(image * 255)
  error = value / 255 - mean
  upper = (error + 0.5 / 255) * jnp.exp(-log_scale)
  lower = (error - 0.5 / 255) * jnp.exp(-log_scale)
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
  """Returns the number of values per pixel that a decoder must give."""
  if likelihood is None:
    return image_channels
  return likelihood.outputs(image_channels)
