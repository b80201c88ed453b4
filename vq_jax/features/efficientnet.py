"""EfficientNet-Lite, an ImageNet classifier."""

import functools
import math
import operator
import os
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vq_jax.features import inputs
from vq_jax.features import released
from vq_jax.utils.conversion import states

# Epsilon of the batch norms.
_EPSILON = 1e-3
# Blocks, kernel, stride, expansion and width of each stage before scaling
# (https://arxiv.org/abs/1905.11946, table 1).
_STAGES = (
  (1, 3, 1, 1, 16),
  (2, 3, 2, 6, 24),
  (2, 5, 2, 6, 40),
  (3, 3, 2, 6, 80),
  (3, 5, 1, 6, 112),
  (4, 5, 2, 6, 192),
  (1, 3, 1, 6, 320),
)


class DepthwiseConv(nn.Module):
  """A depthwise convolution with 'SAME' padding.

  It is computed as a sum of shifted images: on a CPU, XLA's grouped convolution
  and its gradient are about ten times slower.

  Attributes:
    kernel: kernel size.
    stride: stride.
    dtype: dtype of the computation.
  """

  kernel: int
  stride: int = 1
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [B, H, W, C] to [B, H / stride, W / stride, C], rounded up."""
    k, s, channels = self.kernel, self.stride, x.shape[-1]
    init = nn.initializers.variance_scaling(
      1.0, 'fan_in', 'truncated_normal', in_axis=(0, 1), out_axis=()
    )
    kernel = self.param('kernel', init, (k, k, channels), jnp.float32)
    bias = self.param('bias', nn.initializers.zeros, (channels,), jnp.float32)
    x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
    padding = jax.lax.padtype_to_pads(x.shape[1:3], (k, k), (s, s), 'SAME')
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    return _correlate(x, kernel, s) + jnp.expand_dims(bias, (0, 1, 2))


def _shifted(
  x: jax.Array, size: int, stride: int
) -> Iterator[tuple[tuple[int, int], jax.Array]]:
  """Yields (row, column) of a kernel, and the pixels that it multiplies."""
  h, w = ((n - size) // stride for n in x.shape[1:3])
  for i in range(size):
    for j in range(size):
      rows = slice(i, i + stride * h + 1, stride)
      columns = slice(j, j + stride * w + 1, stride)
      yield (i, j), x[:, rows, columns]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _correlate(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
  """Returns the 'VALID' depthwise convolution of x with a kernel [k, k, C].

  Automatic differentiation would give the gradient as a sum of padded images,
  which takes four times as long as this sum of shifted ones.
  """
  return functools.reduce(
    operator.add,
    (
      part * jnp.expand_dims(kernel[at], (0, 1, 2))
      for at, part in _shifted(x, len(kernel), stride)
    ),
  )


def _correlate_backward(stride, residuals, gradient):
  """Returns the gradients of x and of the kernel."""
  x, kernel = residuals
  size = len(kernel)
  of_kernel = [
    (part * gradient).sum((0, 1, 2)) for _, part in _shifted(x, size, stride)
  ]
  around = [
    (size - 1, n - 1 - stride * (m - 1), stride - 1)
    for n, m in zip(x.shape[1:3], gradient.shape[1:3], strict=True)
  ]
  none = (0, 0, 0)
  spread = jax.lax.pad(
    gradient, jnp.zeros((), gradient.dtype), (none, *around, none)
  )
  of_x = _correlate(spread, kernel[::-1, ::-1], 1)
  return of_x, jnp.stack(of_kernel).reshape(kernel.shape)


_correlate.defvjp(
  lambda x, kernel, stride: (_correlate(x, kernel, stride), (x, kernel)),
  _correlate_backward,
)


class _Block(nn.Module):
  """The inverted residual block (https://arxiv.org/abs/1801.04381)."""

  channels: int
  kernel: int
  stride: int
  expansion: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [B, H, W, C] to [B, H / stride, W / stride, channels]."""
    y = x
    if self.expansion > 1:
      wide = self.expansion * x.shape[-1]
      y = nn.relu6(nn.Dense(wide, dtype=self.dtype, name='expand')(y))
    y = DepthwiseConv(
      self.kernel, self.stride, dtype=self.dtype, name='depthwise'
    )(y)
    y = nn.Dense(self.channels, dtype=self.dtype, name='project')(nn.relu6(y))
    return x + y if self.stride == 1 and x.shape == y.shape else y


class EfficientNetLite(nn.Module):
  """EfficientNet with relu6 and without squeeze-and-excitation.

  Batch norms are folded into the convolutions. The defaults are Lite0; Lite2 is
  `width=1.1, depth=1.2, size=260`.

  Attributes:
    width: width of all stages, relative to Lite0.
    depth: number of blocks of all stages but the first and the last, relative
      to Lite0.
    size: side to which images are resized.
    dtype: dtype of the computation.
  """

  width: float = 1.0
  depth: float = 1.0
  size: int = 224
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, image: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Classifies images.

    Args:
      image: float [B, H, W, 3 or 1] in [0, 1], of any size.

    Returns:
      logits float32 [B, 1000], in the order of ImageNet, and pooled features
      float32 [B, 1280] in [0, 6].
    """
    x = inputs.rgb(image)
    x = jax.image.resize(x, (len(x), self.size, self.size, 3), 'bilinear')
    x = (255 * x - 127) / 128
    x = nn.relu6(
      nn.Conv(32, (3, 3), strides=2, dtype=self.dtype, name='stem')(x)
    )
    for i, (channels, kernel, stride, expansion) in enumerate(self._blocks()):
      x = _Block(
        channels, kernel, stride, expansion, self.dtype, name=f'block_{i}'
      )(x)
    x = nn.relu6(nn.Dense(1280, dtype=self.dtype, name='head')(x))
    pooled = x.astype(jnp.float32).mean(axis=(1, 2))
    return nn.Dense(1000, name='logits')(pooled), pooled

  def _blocks(self):
    """Yields channels, kernel, stride and expansion of each block."""
    for i, (blocks, kernel, stride, expansion, width) in enumerate(_STAGES):
      channels = _round_to_8(self.width * width)
      if 0 < i < len(_STAGES) - 1:
        blocks = math.ceil(self.depth * blocks)
      for j in range(blocks):
        yield channels, kernel, 1 if j else stride, expansion


def _round_to_8(width: float) -> int:
  """Returns the nearest multiple of 8 that is at least 0.9 of the width."""
  rounded = max(8, int(width + 4) // 8 * 8)
  return rounded if rounded >= 0.9 * width else rounded + 8


NETWORKS: dict[str, dict[str, Any]] = {
  'efficientnet_lite0': {},
  'efficientnet_lite2': {'width': 1.1, 'depth': 1.2, 'size': 260},
}


def make(name: str) -> nn.Module:
  """Returns a network; see `vq_jax.features.make`."""
  return EfficientNetLite(**NETWORKS[name])


def load(
  name: str, path: str | os.PathLike | None = None
) -> tuple[nn.Module, dict[str, Any]]:
  """Loads a network; see `vq_jax.features.load`."""
  network = make(name)
  state = states.load_arrays(released.find(name, path))
  return network, {'params': convert(state)}


def convert(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """Converts a released state dict to parameters."""
  params: dict[str, Any] = {'stem': _layer(state, '_conv_stem', '_bn0')}
  count = len({name.split('.')[1] for name in state if '_blocks.' in name})
  for i in range(count):
    block = f'_blocks.{i}.'
    layers = {
      'expand': _layer(state, f'{block}_expand_conv', f'{block}_bn0'),
      'depthwise': _layer(state, f'{block}_depthwise_conv', f'{block}_bn1'),
      'project': _layer(state, f'{block}_project_conv', f'{block}_bn2'),
    }
    params[f'block_{i}'] = {k: v for k, v in layers.items() if v}
  params['head'] = _layer(state, '_conv_head', '_bn1')
  params['logits'] = {
    'kernel': state['_fc.weight'].T,
    'bias': state['_fc.bias'],
  }
  return params


def _layer(
  state: Mapping[str, np.ndarray], conv: str, norm: str
) -> dict[str, np.ndarray]:
  """Folds a batch norm into the convolution before it; {} if there is none.

  (W x - mean) scale / sqrt(var) + shift has the kernel W scale / sqrt(var).
  """
  if f'{conv}.weight' not in state:
    return {}
  weight = state[f'{conv}.weight'].astype(np.float64)
  scale, shift, mean, variance = (
    state[f'{norm}.{name}'].astype(np.float64)
    for name in ('weight', 'bias', 'running_mean', 'running_var')
  )
  scale /= np.sqrt(variance + _EPSILON)
  kernel = weight.transpose(2, 3, 1, 0) * scale  # [k, k, in, out]
  if kernel.shape[2] == 1:
    kernel = kernel[:, :, 0]  # a depthwise convolution
  elif kernel.shape[:2] == (1, 1):
    kernel = kernel[0, 0]  # a dense layer
  return {
    'kernel': kernel.astype(np.float32),
    'bias': (shift - mean * scale).astype(np.float32),
  }
