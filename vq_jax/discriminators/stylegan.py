"""The discriminator of StyleGAN, as MaskGIT, MAGVIT and ViT-VQGAN train it."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.layers import checked
from vq_jax.utils import fields
from vq_jax.utils import images

_SLOPE = 0.2


def blur_pool(x: jax.Array) -> jax.Array:
  """Halves height and width by the blur [1, 3, 3, 1] / 8 along both.

  Zhang 2019. Outside the image there are zeros.

  Args:
    x: [B, H, W, C], H and W even.

  Returns:
    [B, H / 2, W / 2, C].
  """
  return _halve(_halve(x, axis=1), axis=2)


def _halve(x: jax.Array, axis: int) -> jax.Array:
  # Sums of slices: on a CPU a convolution by channel takes far longer.
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
  """Appends a channel that says how much the images of a group differ.

  Karras et al. 2018, section 3: the standard deviation over the group, averaged
  over pixels and channels. A decoder that gives all images the same look is
  found out by it. A group is `group` images that follow one another, so that
  replicas whose batches hold whole groups see what one device would; where
  groups of this size do not fill the batch, they have the largest smaller one
  that does.

  Args:
    x: float [B, H, W, C].
    group: images in a group.

  Returns:
    float [B, H, W, C + 1].
  """
  b, h, w, _ = x.shape
  group = next(n for n in range(min(group, b), 0, -1) if b % n == 0)
  grouped = x.astype(jnp.float32).reshape(b // group, group, -1)
  # Without the constant the gradient of equal images is not finite.
  stddev = jnp.sqrt(grouped.var(axis=1) + 1e-8).mean(axis=-1)
  per_image = jnp.repeat(stddev, group).astype(x.dtype)
  channel = jnp.broadcast_to(per_image.reshape(b, 1, 1, 1), (b, h, w, 1))
  return jnp.concatenate([x, channel], axis=-1)


class ResidualBlock(checked.CheckedModule):
  """3x3, blur to half the size, 3x3; a 1x1 beside; their sum over sqrt 2.

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
    fields = _fields(self)
    y = nn.Conv(x.shape[-1], (3, 3), name='conv1', **fields)(x)
    y = blur_pool(nn.leaky_relu(y, _SLOPE))
    y = nn.Conv(self.channels, (3, 3), name='conv2', **fields)(y)
    y = nn.leaky_relu(y, _SLOPE)
    shortcut = nn.Dense(
      self.channels, use_bias=False, name='shortcut', **fields
    )
    return (shortcut(blur_pool(x)) + y) / math.sqrt(2)


class StyleGAN(checked.CheckedModule):
  """Residual blocks with blurred halving, then two dense layers.

  The defaults are google-research/maskgit's (`nets/discriminator.py`), with its
  config's `channel_multiplier` 1 and `blur_resample`: at 256 x 256 the widths
  64, 128, 256 and then 512 down to 4 x 4, a blur of four taps, Xavier's
  initializer, no minibatch standard deviation; 23,998,017 parameters in 38
  arrays. Its training code was not released; that the discriminator sees images
  in [0, 1], as the tokenizer, is a guess.

  ViT-VQGAN's (StyleGAN2, channel multiplier 2) has the widths `channels=128,
  multipliers=(2, 4, 4, 4, 4, 4), stddev_group=4`. StyleGAN2 itself begins with
  a 1x1, blurs before a convolution of stride 2 and scales weights when they
  are used; this module does not.

  The last map is flattened, so parameters depend on the size of the images: 64
  x 64 ones want four blocks, such as `multipliers=(2, 4, 8, 8)`.

  Attributes:
    channels: width before the blocks.
    multipliers: width after each block, in `channels`; each block halves the
      image.
    stddev_group: images over which `minibatch_stddev` looks; None for none.
    value_range: the pixel range inside; [0, 1] outside.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
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
      ValueError: if the blocks do not divide the image.
    """
    stride = 2 ** len(self.multipliers)
    if image.shape[1] % stride or image.shape[2] % stride:
      raise ValueError(
        f'height and width must be multiples of {stride} for a StyleGAN '
        f'discriminator of {len(self.multipliers)} blocks; got '
        f'{image.shape[1:3]}. Give it fewer multipliers.'
      )
    types = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    fields = _fields(self)
    x = images.to_range(image, self.value_range)
    x = nn.Conv(self.channels, (3, 3), name='conv_in', **fields)(x)
    x = nn.leaky_relu(x, _SLOPE)
    for i, multiplier in enumerate(self.multipliers):
      width = self.channels * multiplier
      x = ResidualBlock(width, name=f'block_{i}', **types)(x)
    width = x.shape[-1]
    if self.stddev_group is not None:
      x = minibatch_stddev(x, self.stddev_group)
    x = nn.Conv(width, (3, 3), name='conv_out', **fields)(x)
    x = nn.leaky_relu(x, _SLOPE).reshape(len(x), -1)
    x = nn.leaky_relu(nn.Dense(width, name='dense', **fields)(x), _SLOPE)
    logits = nn.Dense(1, name='dense_out', **fields)(x)
    return logits[:, 0].astype(jnp.float32)


def _fields(module: nn.Module) -> dict:
  """What the layers of a module have in common."""
  return {
    'kernel_init': nn.initializers.xavier_uniform(),
    'dtype': module.dtype,
    'param_dtype': module.param_dtype,
  }
