"""PatchGAN, the discriminator of VQGAN."""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.layers import checked
from vq_jax.utils import fields
from vq_jax.utils import images
from vq_jax.utils import replicas
from vq_jax.utils.dtypes import Dtypes

# Standard deviation of the kernels, and of the scales of norms around 1 (Isola
# et al. 2017, section 6.2).
_STDDEV = 0.02


def _around_one(rng, shape, dtype=jnp.float32):
  return 1 + _STDDEV * jax.random.normal(rng, shape, dtype)


class BatchNorm(checked.CheckedModule):
  """Batch normalisation without moving averages.

  A discriminator is only applied to training batches, so it needs no averages
  for evaluation, and no state.

  Attributes:
    epsilon: added to the variance.
    dtype: dtype of the result; statistics are float32.
    param_dtype: dtype of the parameters.
    axis_name: pmap axis over which statistics are averaged; None under jit.
  """

  epsilon: fields.PositiveFloat = 1e-5
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [B, H, W, C] to the same shape."""
    channels = (x.shape[-1],)
    scale = self.param('scale', _around_one, channels, self.param_dtype)
    bias = self.param(
      'bias', nn.initializers.zeros_init(), channels, self.param_dtype
    )
    centred = x.astype(jnp.float32)
    centred -= self._mean(centred)
    variance = self._mean(jnp.square(centred))
    normal = centred * jax.lax.rsqrt(variance + self.epsilon)
    scale, bias = (jnp.expand_dims(p, (0, 1, 2)) for p in (scale, bias))
    return (normal * scale + bias).astype(self.dtype)

  def _mean(self, x: jax.Array) -> jax.Array:
    """Returns the mean of each channel: [1, 1, 1, C]."""
    own = x.mean(axis=(0, 1, 2), keepdims=True)
    return replicas.pmean(own, self.axis_name)


class PatchGAN(checked.CheckedModule):
  """PatchGAN: 4 x 4 convolutions with a logit for each patch.

  Isola et al. 2017, section 3.2.2 (https://arxiv.org/abs/1611.07004). The
  defaults are those of CompVis/taming-transformers: 3 convolutions of stride 2,
  one of stride 1, and the layer of the logits, each of which has a receptive
  field of 70 x 70 pixels. All layers but the first and the last are normalised.

  Attributes:
    channels: width of the first layer; the width doubles with each layer, up to
      8 times this number.
    layers: number of convolutions of stride 2.
    norm: 'batch' for `BatchNorm`; with 'group' or 'none' a logit depends only
      on its own image.
    groups: groups of the group norm.
    value_range: range to which pixels in [0, 1] are mapped.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
    axis_name: pmap axis over which statistics are averaged; None under jit.

  Example:
    >>> import jax
    >>> from vq_jax import discriminators
    >>> discriminator = discriminators.PatchGAN(channels=4, layers=1)
    >>> image = jax.numpy.zeros((2, 16, 16, 3))
    >>> logits, _ = discriminator.init_with_output(jax.random.key(0), image)
    >>> logits.shape
    (2, 6, 6)
  """

  channels: fields.PositiveInt = 64
  layers: fields.PositiveInt = 3
  norm: Literal['batch', 'group', 'none'] = 'batch'
  groups: fields.PositiveInt = 32
  value_range: tuple[float, float] = (-1.0, 1.0)
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, image: jax.Array) -> jax.Array:
    """Maps float [B, H, W, C] in [0, 1] to logits float32 [B, h, w].

    h is H // 2 ** layers - 2, and w is W // 2 ** layers - 2.

    Raises:
      ValueError: if the image is smaller than one patch.
    """
    smallest = 3 * 2**self.layers
    if min(image.shape[1:3]) < smallest:
      raise ValueError(
        f'images must be at least {smallest} x {smallest} pixels for a '
        f'PatchGAN of {self.layers} layers; got {image.shape[1:3]}. Set fewer '
        'layers, or use larger images.'
      )
    x = images.to_range(image, self.value_range)
    x = nn.leaky_relu(self._conv('conv_0', self.channels, 2)(x), 0.2)
    for i in range(1, self.layers + 1):
      stride = 2 if i < self.layers else 1
      width = self.channels * min(2**i, 8)
      # A norm adds a bias itself.
      bias = self.norm == 'none'
      x = self._conv(f'conv_{i}', width, stride, bias)(x)
      x = nn.leaky_relu(self._normalise(x, f'norm_{i}'), 0.2)
    logits = self._conv('conv_out', 1, 1)(x)
    return logits[..., 0].astype(jnp.float32)

  def _conv(self, name: str, width: int, stride: int, use_bias: bool = True):
    return nn.Conv(
      width,
      (4, 4),
      strides=stride,
      padding=((1, 1), (1, 1)),
      use_bias=use_bias,
      kernel_init=nn.initializers.normal(_STDDEV),
      dtype=self.dtype,
      param_dtype=self.param_dtype,
      name=name,
    )

  def _normalise(self, x: jax.Array, name: str) -> jax.Array:
    types: Dtypes = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    if self.norm == 'batch':
      return BatchNorm(axis_name=self.axis_name, name=name, **types)(x)
    if self.norm == 'group':
      norm = nn.GroupNorm(
        self.groups, epsilon=1e-5, scale_init=_around_one, name=name, **types
      )
      return norm(x)
    return x
