"""Inception-v3 as the FID uses it."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.features import inputs
from vq_jax.utils import fields
from vq_jax.utils import images as image_lib

# The 2015 graph subtracts 128 from pixels in [0, 255] and divides by 128.
GRAPH_RANGE = (-1.0, 127 / 128)
# Side of the images in all published numbers.
SIZE = 299
# The smallest image for which each layer has an output.
_SMALLEST = 75

# A convolution: name, width, kernel and stride. With stride 2 it has no
# padding, otherwise the size stays.
_Conv = tuple[str, int, tuple[int, int], int]
_ONE, _THREE, _FIVE = (1, 1), (3, 3), (5, 5)
_ROW, _COLUMN = (1, 7), (7, 1)


def _block_a(pooled: int) -> tuple[tuple[_Conv, ...], ...]:
  """Returns the branches of a block of 35 x 35 pixels."""
  return (
    (('branch1x1', 64, _ONE, 1),),
    (('branch5x5_1', 48, _ONE, 1), ('branch5x5_2', 64, _FIVE, 1)),
    (
      ('branch3x3dbl_1', 64, _ONE, 1),
      ('branch3x3dbl_2', 96, _THREE, 1),
      ('branch3x3dbl_3', 96, _THREE, 1),
    ),
    (('branch_pool', pooled, _ONE, 1),),
  )


def _block_c(width: int) -> tuple[tuple[_Conv, ...], ...]:
  """Returns the branches of a block of 17 x 17 pixels."""
  return (
    (('branch1x1', 192, _ONE, 1),),
    (
      ('branch7x7_1', width, _ONE, 1),
      ('branch7x7_2', width, _ROW, 1),
      ('branch7x7_3', 192, _COLUMN, 1),
    ),
    (
      ('branch7x7dbl_1', width, _ONE, 1),
      ('branch7x7dbl_2', width, _COLUMN, 1),
      ('branch7x7dbl_3', width, _ROW, 1),
      ('branch7x7dbl_4', width, _COLUMN, 1),
      ('branch7x7dbl_5', 192, _ROW, 1),
    ),
    (('branch_pool', 192, _ONE, 1),),
  )


_REDUCTION_A = (
  (('branch3x3', 384, _THREE, 2),),
  (
    ('branch3x3dbl_1', 64, _ONE, 1),
    ('branch3x3dbl_2', 96, _THREE, 1),
    ('branch3x3dbl_3', 96, _THREE, 2),
  ),
  (),
)
_REDUCTION_B = (
  (('branch3x3_1', 192, _ONE, 1), ('branch3x3_2', 320, _THREE, 2)),
  (
    ('branch7x7x3_1', 192, _ONE, 1),
    ('branch7x7x3_2', 192, _ROW, 1),
    ('branch7x7x3_3', 192, _COLUMN, 1),
    ('branch7x7x3_4', 192, _THREE, 2),
  ),
  (),
)
# Each block reads the one before; the names are those of torchvision. The last
# branch of a block begins with pooling.
_BLOCKS = (
  ('Mixed_5b', _block_a(32)),
  ('Mixed_5c', _block_a(64)),
  ('Mixed_5d', _block_a(64)),
  ('Mixed_6a', _REDUCTION_A),
  ('Mixed_6b', _block_c(128)),
  ('Mixed_6c', _block_c(160)),
  ('Mixed_6d', _block_c(160)),
  ('Mixed_6e', _block_c(192)),
  ('Mixed_7a', _REDUCTION_B),
)

# Means over 3 x 3 pixels, in which the padding does not count.
_average_pool = functools.partial(
  nn.avg_pool,
  window_shape=_THREE,
  strides=_ONE,
  padding='SAME',
  count_include_pad=False,
)
_max_pool = functools.partial(
  nn.max_pool, window_shape=_THREE, strides=_ONE, padding='SAME'
)
_reduce = functools.partial(nn.max_pool, window_shape=_THREE, strides=(2, 2))


def _scale(width: int, relative: float) -> int:
  return max(1, round(width * relative))


class _ConvRelu(nn.Module):
  """A convolution with a bias, into which a batch norm is folded, and relu."""

  channels: int
  kernel: tuple[int, int]
  stride: int = 1
  padding: str = 'SAME'
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [B, H, W, C] to [B, H', W', channels]."""
    return nn.relu(
      nn.Conv(
        self.channels,
        self.kernel,
        strides=self.stride,
        padding=self.padding,
        dtype=self.dtype,
        name='conv',
      )(x)
    )


class _Block(nn.Module):
  """Parallel branches of convolutions, whose outputs are concatenated."""

  branches: tuple[tuple[_Conv, ...], ...]
  width: float
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [B, H, W, C] to [B, H', W', the sum of the widths]."""
    outputs = []
    for branch in self.branches:
      y = x
      if not branch:
        y = _reduce(x)
      elif branch[0][0] == 'branch_pool':
        y = _average_pool(x)
      for name, channels, kernel, stride in branch:
        y = _ConvRelu(
          _scale(channels, self.width),
          kernel,
          stride,
          'SAME' if stride == 1 else 'VALID',
          dtype=self.dtype,
          name=name,
        )(y)
      outputs.append(y)
    return jnp.concatenate(outputs, axis=-1)


class _LastBlock(nn.Module):
  """A block of 8 x 8 pixels, in which two branches part again."""

  pool: str
  width: float
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [B, H, W, C] to [B, H, W, 2048 * width]."""

    def conv(x, name, channels, kernel):
      return _ConvRelu(
        _scale(channels, self.width), kernel, dtype=self.dtype, name=name
      )(x)

    def part(x, name):
      return [
        conv(x, f'{name}a', 384, (1, 3)),
        conv(x, f'{name}b', 384, (3, 1)),
      ]

    small = conv(x, 'branch3x3_1', 384, _ONE)
    large = conv(x, 'branch3x3dbl_1', 448, _ONE)
    large = conv(large, 'branch3x3dbl_2', 384, _THREE)
    pooled = _average_pool(x) if self.pool == 'average' else _max_pool(x)
    outputs = [
      conv(x, 'branch1x1', 320, _ONE),
      *part(small, 'branch3x3_2'),
      *part(large, 'branch3x3dbl_3'),
      conv(pooled, 'branch_pool', 192, _ONE),
    ]
    return jnp.concatenate(outputs, axis=-1)


class InceptionV3(nn.Module):
  """Inception-v3 of the FID (https://arxiv.org/abs/1512.00567, table 1).

  This is the graph that was released for TensorFlow in 2015 and that FID,
  Inception Score and ADM's evaluator use. It differs from torchvision's in the
  average pooling, which leaves out the padding, in the pooling of the last
  block, which takes maxima, and in the number of classes. Batch norms are
  folded into the convolutions.

  Attributes:
    width: width of all layers, relative to the published ones.
    num_classes: number of logits.
    spatial_channels: number of channels of the spatial features.
    value_range: the range to which pixels in [0, 1] are mapped. That of the
      graph is the default; pytorch-fid has (-1, 1).
    dtype: dtype of the computation.

  Example:
    >>> import jax
    >>> from vq_jax import features
    >>> network = features.InceptionV3()
    >>> found = jax.eval_shape(
    ...   lambda: network.init_with_output(
    ...     jax.random.key(0), jax.numpy.zeros((1, 299, 299, 3))
    ...   )[0]
    ... )
    >>> {name: array.shape for name, array in sorted(found.items())}
    {'logits': (1, 1008), 'pooled': (1, 2048), 'spatial': (1, 2023)}
  """

  width: fields.PositiveFloat = 1.0
  num_classes: fields.PositiveInt = 1008
  spatial_channels: fields.PositiveInt = 7
  value_range: tuple[float, float] = GRAPH_RANGE
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, image: jax.Array) -> dict[str, jax.Array]:
    """Computes features.

    Args:
      image: float [B, H, W, 3 or 1] in [0, 1], H and W at least 75; 299 x 299
        in all published numbers.

    Returns:
      float32 features by name:
      - 'pooled' [B, 2048], of the FID: means over the last 8 x 8 pixels;
      - 'spatial' [B, 2023], of the sFID (https://arxiv.org/abs/2103.03841) in
        ADM's evaluator: the first 7 channels of the 17 x 17 pixels of
        Mixed_6d, which is `mixed_6/conv` of the graph;
      - 'logits' [B, 1008], of the Inception Score: without the bias of the
        layer, as ADM's evaluator and torch-fidelity (`logits_unbiased`) have
        them.

    Raises:
      ValueError: if the images have another shape, or are smaller.
    """
    x = inputs.rgb(image, smallest=_SMALLEST)
    x = image_lib.to_range(x, self.value_range)

    def conv(x, name, channels, kernel, stride=1, padding='VALID'):
      return _ConvRelu(
        _scale(channels, self.width),
        kernel,
        stride,
        padding,
        dtype=self.dtype,
        name=name,
      )(x)

    x = conv(x, 'Conv2d_1a_3x3', 32, _THREE, stride=2)
    x = conv(x, 'Conv2d_2a_3x3', 32, _THREE)
    x = _reduce(conv(x, 'Conv2d_2b_3x3', 64, _THREE, padding='SAME'))
    x = conv(x, 'Conv2d_3b_1x1', 80, _ONE)
    x = _reduce(conv(x, 'Conv2d_4a_3x3', 192, _THREE))
    for name, branches in _BLOCKS:
      x = _Block(branches, self.width, self.dtype, name=name)(x)
      if name == 'Mixed_6d':
        spatial = x[..., : self.spatial_channels].astype(jnp.float32)
    x = _LastBlock('average', self.width, self.dtype, name='Mixed_7b')(x)
    x = _LastBlock('max', self.width, self.dtype, name='Mixed_7c')(x)
    pooled = x.astype(jnp.float32).mean(axis=(1, 2))
    logits = nn.Dense(self.num_classes, use_bias=False, name='fc')
    return {
      'pooled': pooled,
      'spatial': spatial.reshape(len(spatial), -1),
      'logits': logits(pooled),
    }
