"""The StyleGAN discriminator of MaskGIT, MAGVIT and ViT-VQGAN."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.layers import checked
from vq_jax.utils import fields
from vq_jax.utils import images
from vq_jax.utils.dtypes import Dtypes

_SLOPE = 0.2


def blur_pool(x: jax.Array) -> jax.Array:
  """Downsamples by 2 with the blur kernel [1, 3, 3, 1] / 8 along both axes.

  Zhang 2019 (https://arxiv.org/abs/1904.11486). Borders are padded with zeros.

  Args:
    x: [B, H, W, C], with even H and W.

  Returns:
    [B, H / 2, W / 2, C].
  """
  return _halve(_halve(x, axis=1), axis=2)


def _halve(x: jax.Array, axis: int) -> jax.Array:
  # On a CPU, sums of slices are much faster than a depthwise convolution.
  even, odd = (
    jax.lax.slice_in_dim(x, start, None, 2, axis) for start in (0, 1)
  )
  n = even.shape[axis]
  edge = jnp.zeros_like(jax.lax.slice_in_dim(x, 0, 1, axis=axis))
  before = [edge, jax.lax.slice_in_dim(odd, 0, n - 1, axis=axis)]
  after = [jax.lax.slice_in_dim(even, 1, n, axis=axis), edge]
  outer = jnp.concatenate(before, axis) + jnp.concatenate(after, axis)
  return (outer + 3 * (even + odd)) / 8


def minibatch_stddev(x: jax.Array, group: int) -> jax.Array:
  """Appends the minibatch standard deviation as a channel.

  The standard deviation over a group of images, averaged over pixels and
  channels: Karras et al. 2018, section 3 (https://arxiv.org/abs/1710.10196).
  Groups are consecutive images, so that a batch may be divided over replicas
  between groups.

  Args:
    x: float [B, H, W, C].
    group: images in a group. If B is not a multiple of it, the largest smaller
      divisor of B is used.

  Returns:
    float [B, H, W, C + 1].
  """
  b, h, w, _ = x.shape
  group = next(n for n in range(min(group, b), 0, -1) if b % n == 0)
  grouped = x.astype(jnp.float32).reshape(b // group, group, -1)
  # The constant keeps the gradient finite where all images are equal.
  stddev = jnp.sqrt(grouped.var(axis=1) + 1e-8).mean(axis=-1)
  per_image = jnp.repeat(stddev, group).astype(x.dtype)
  channel = jnp.broadcast_to(per_image.reshape(b, 1, 1, 1), (b, h, w, 1))
  return jnp.concatenate([x, channel], axis=-1)


class ResidualBlock(checked.CheckedModule):
  """(conv 3x3, blur pool, conv 3x3, plus a 1x1 shortcut) / sqrt 2.

  Attributes:
    channels: width of the output.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
  """

  channels: fields.PositiveInt
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [B, H, W, C] to [B, H / 2, W / 2, channels]."""
    common = _layer_fields(self)
    y = nn.Conv(x.shape[-1], (3, 3), name='conv1', **common)(x)
    y = blur_pool(nn.leaky_relu(y, _SLOPE))
    y = nn.Conv(self.channels, (3, 3), name='conv2', **common)(y)
    y = nn.leaky_relu(y, _SLOPE)
    shortcut = nn.Dense(
      self.channels, use_bias=False, name='shortcut', **common
    )
    return (shortcut(blur_pool(x)) + y) / math.sqrt(2)


class StyleGAN(checked.CheckedModule):
  """Residual blocks with blur pooling, then two dense layers.

  The defaults are google-research/maskgit's `nets/discriminator.py` with
  `channel_multiplier` 1 and `blur_resample`
  (https://arxiv.org/abs/2202.04200): for 256 x 256 pixels the widths are 64,
  128, 256 and then 512 down to 4 x 4; 23,998,017 parameters in 38 arrays. Its
  training code was not released. That its input is in [0, 1], like that of the
  tokenizer, is an assumption.

  ViT-VQGAN (https://arxiv.org/abs/2110.04627) uses StyleGAN2 with channel
  multiplier 2: `channels=128, multipliers=(2, 4, 4, 4, 4, 4), stddev_group=4`.
  StyleGAN2 itself (https://arxiv.org/abs/1912.04958) begins with a 1 x 1
  convolution, blurs before a convolution of stride 2 and scales weights at run
  time, which this module does not.

  The last feature map is flattened, so the parameters depend on the image size:
  for 64 x 64 pixels use four blocks, such as `multipliers=(2, 4, 8, 8)`.

  Attributes:
    channels: width before the blocks.
    multipliers: width after each block, in units of `channels`; each block
      halves height and width.
    stddev_group: group size of `minibatch_stddev`; None to leave it out.
    value_range: range to which pixels in [0, 1] are mapped.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.

  Example:
    >>> import jax
    >>> from vq_jax import discriminators
    >>> discriminator = discriminators.StyleGAN(channels=4, multipliers=(2,))
    >>> image = jax.numpy.zeros((2, 8, 8, 3))
    >>> logits, _ = discriminator.init_with_output(jax.random.key(0), image)
    >>> logits.shape
    (2,)
  """

  channels: fields.PositiveInt = 64
  multipliers: tuple[fields.PositiveInt, ...] = (2, 4, 8, 8, 8, 8)
  stddev_group: fields.PositiveInt | None = None
  value_range: tuple[float, float] = (0.0, 1.0)
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, image: jax.Array) -> jax.Array:
    """Maps float [B, H, W, C] in [0, 1] to logits float32 [B].

    Raises:
      ValueError: if the image size is not a multiple of the stride.
    """
    stride = 2 ** len(self.multipliers)
    if image.shape[1] % stride or image.shape[2] % stride:
      raise ValueError(
        f'height and width must be multiples of {stride} for a StyleGAN '
        f'discriminator of {len(self.multipliers)} blocks; got '
        f'{image.shape[1:3]}. Set fewer multipliers.'
      )
    types: Dtypes = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    common = _layer_fields(self)
    x = images.to_range(image, self.value_range)
    x = nn.Conv(self.channels, (3, 3), name='conv_in', **common)(x)
    x = nn.leaky_relu(x, _SLOPE)
    for i, multiplier in enumerate(self.multipliers):
      width = self.channels * multiplier
      x = ResidualBlock(width, name=f'block_{i}', **types)(x)
    width = x.shape[-1]
    if self.stddev_group is not None:
      x = minibatch_stddev(x, self.stddev_group)
    x = nn.Conv(width, (3, 3), name='conv_out', **common)(x)
    x = nn.leaky_relu(x, _SLOPE).reshape(len(x), -1)
    x = nn.leaky_relu(nn.Dense(width, name='dense', **common)(x), _SLOPE)
    logits = nn.Dense(1, name='dense_out', **common)(x)
    return logits[:, 0].astype(jnp.float32)


def _layer_fields(module: nn.Module) -> dict:
  """Returns the fields that all layers of a module share."""
  return {
    'kernel_init': nn.initializers.xavier_uniform(),
    'dtype': module.dtype,
    'param_dtype': module.param_dtype,
  }
