"""Blocks of PixelSNAIL (Chen et al. 2018): causal convolutions and attention.

Features of a pixel know only the tokens before it. Whole maps are [B, h, w, C];
`step` takes one pixel, [B, C], and what is cached of those before it.
"""

import functools

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from vq_jax.layers import causal_convolution as causal
from vq_jax.layers.attention import KVCache


@flax.struct.dataclass
class BlockCache:
  """What sampling keeps of a block.

  Attributes:
    maps: of each layer, the inputs of both convolutions; see
      `causal_convolution`.
    seen: what the attention has seen; None without.
  """

  maps: list[tuple[jax.Array, jax.Array]]
  seen: KVCache | None


class GatedLayer(nn.Module):
  """elu, k x k, elu, k x k, gate, add; the convolutions are causal.

  The last convolution starts small: a stack begins near the identity.

  Attributes:
    channels: C.
    residual_channels: width between the convolutions.
    kernel: side of the windows, odd; 1 for dense layers, which need no `step`.
    dropout: rate before the second convolution.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
  """

  channels: int
  residual_channels: int
  kernel: int
  dropout: float = 0.0
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32

  def setup(self):
    """Declares the layers."""
    types = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    conv = nn.Dense
    if self.kernel != 1:
      conv = functools.partial(causal.raster_conv, kernel=self.kernel)
    small = nn.initializers.variance_scaling(0.1, 'fan_in', 'truncated_normal')
    wide = 2 * self.channels
    self.conv1 = conv(self.residual_channels, **types)
    self.conv2 = conv(wide, kernel_init=small, **types)
    self.context = nn.Dense(wide, use_bias=False, **types)
    self.drop = nn.Dropout(self.dropout)

  def __call__(
    self,
    x: jax.Array,
    context: jax.Array | None = None,
    *,
    train: bool = False,
  ) -> jax.Array:
    """Maps [B, h, w, C], or with kernel 1 any [..., C], to the same shape.

    Args:
      x: the features.
      context: what else is known, [B, h or 1, w or 1, D]: a bias in the gates.
      train: whether dropout acts, drawing from the stream 'dropout'.
    """
    y = nn.elu(self.conv1(nn.elu(x)))
    y = self.conv2(self.drop(y, deterministic=not train))
    return self._add(x, y, context)

  def start(
    self, batch_size: int, grid: tuple[int, int]
  ) -> tuple[jax.Array, jax.Array]:
    """Returns the maps of both inputs before the first pixel."""
    radius = causal.radius_of(self.kernel)
    return tuple(
      causal.empty_map(batch_size, grid, channels, radius, self.dtype)
      for channels in (self.channels, self.residual_channels)
    )

  def step(
    self,
    maps: tuple[jax.Array, jax.Array],
    x: jax.Array,
    context: jax.Array | None,
    position: jax.Array,
  ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """Maps the pixel [B, C] at a position; its context is [B, D]."""
    first, second = maps
    y, first = causal.step(self.conv1, first, nn.elu(x), position)
    y, second = causal.step(self.conv2, second, nn.elu(y), position)
    return self._add(x, y, context), (first, second)

  def _add(self, x, y, context):
    if context is not None:
      y = y + self.context(context)
    return x + nn.glu(y)


class CausalAttention(nn.Module):
  """Attention of each pixel to those before it, and to itself.

  Queries come from a pixel's features and its place, keys and values from these
  and from the token before it, which its features need not know: at the left
  edge no window reaches it.

  Attributes:
    heads: attention heads.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
  """

  heads: int
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    before: jax.Array,
    places: jax.Array,
    seen: KVCache | None = None,
    position: jax.Array | None = None,
  ) -> tuple[jax.Array, KVCache | None]:
    """Attends within a sequence, or from one pixel of a cached one.

    Args:
      x: [B, N, C], the features; with a cache [B, 1, C].
      before: likewise, the embedded token before each pixel.
      places: [N, 2], or [1, 2]: see `coordinates`.
      seen: keys and values before the position.
      position: int32 [], with a cache.

    Returns:
      [B, N, C], and the cache with the pixel's own key and value.
    """
    width = x.shape[-1]
    types = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    project = functools.partial(
      nn.DenseGeneral, (self.heads, width // self.heads), **types
    )
    places = jnp.broadcast_to(places[None].astype(x.dtype), (*x.shape[:2], 2))
    known = jnp.concatenate([x, places], axis=-1)
    query = project(name='query')(known)
    known = jnp.concatenate([known, before], axis=-1)
    key, value = project(name='key')(known), project(name='value')(known)
    if seen is None:
      y = jax.nn.dot_product_attention(query, key, value, is_causal=True)
    else:
      own = KVCache.from_projections(key, value)
      y = seen.attend(query, own, position)
      seen = seen.write(own, position)
    return nn.DenseGeneral(width, axis=(-2, -1), name='out', **types)(y), seen


class Block(nn.Module):
  """Gated layers, then attention.

  Attributes:
    layer: template of the gated layers.
    layers: how many.
    heads: attention heads; 0 for no attention.
  """

  layer: GatedLayer
  layers: int
  heads: int

  def setup(self):
    """Declares the layers."""
    types = {'dtype': self.layer.dtype, 'param_dtype': self.layer.param_dtype}
    self.gated = [self.layer.clone(parent=None) for _ in range(self.layers)]
    if self.heads:
      self.attention = CausalAttention(self.heads, **types)
      self.merge = self.layer.clone(parent=None, kernel=1)

  def __call__(
    self,
    x: jax.Array,
    before: jax.Array,
    context: jax.Array | None,
    *,
    train: bool = False,
  ) -> jax.Array:
    """Maps [B, h, w, C] to the same shape.

    Args:
      x: the features.
      before: [B, N, C], the embedded token before each pixel.
      context: see `GatedLayer`.
      train: whether dropout acts, drawing from the stream 'dropout'.
    """
    for layer in self.gated:
      x = layer(x, context, train=train)
    if not self.heads:
      return x
    b, h, w, c = x.shape
    places = coordinates(jnp.arange(h * w), (h, w))
    y, _ = self.attention(x.reshape(b, h * w, c), before, places)
    return self.merge(x + y.reshape(x.shape), train=train)

  def start(self, batch_size: int, grid: tuple[int, int]) -> BlockCache:
    """Returns the cache before the first pixel."""
    seen, c = None, self.layer.channels
    if self.heads:
      shape = (batch_size, self.heads, grid[0] * grid[1], c // self.heads)
      seen = KVCache.zeros(shape, self.layer.dtype)
    maps = [layer.start(batch_size, grid) for layer in self.gated]
    return BlockCache(maps=maps, seen=seen)

  def step(
    self,
    cache: BlockCache,
    x: jax.Array,
    before: jax.Array,
    context: jax.Array | None,
    position: jax.Array,
    grid: tuple[int, int],
  ) -> tuple[jax.Array, BlockCache]:
    """Maps the pixel [B, C] at a position; see `__call__` for the rest."""
    maps = []
    for layer, of_layer in zip(self.gated, cache.maps, strict=True):
      x, of_layer = layer.step(of_layer, x, context, position)
      maps.append(of_layer)
    if not self.heads:
      return x, cache.replace(maps=maps)
    places = coordinates(position[None], grid)
    y, seen = self.attention(
      x[:, None], before[:, None], places, cache.seen, position
    )
    return self.merge(x + y[:, 0]), BlockCache(maps=maps, seen=seen)


def coordinates(position: jax.Array, grid: tuple[int, int]) -> jax.Array:
  """Returns row and column [..., 2] of positions [...], in [-0.5, 0.5)."""
  h, w = grid
  row, column = jnp.divmod(position, w)
  return jnp.stack([row / h, column / w], axis=-1) - 0.5
