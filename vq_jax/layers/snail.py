"""Blocks of PixelSNAIL: causal convolutions and attention.

Chen et al. 2018 (https://arxiv.org/abs/1712.09763). `__call__` takes whole
feature maps [B, h, w, C]; `step` takes one pixel [B, C] and a cache of the
pixels before it.
"""

import dataclasses
import functools

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from vq_jax.layers import causal_convolution as causal
from vq_jax.layers.attention_cache import KVCache
from vq_jax.layers.dropout import Dropout
from vq_jax.utils.dtypes import Dtypes


@flax.struct.dataclass
class BlockCache:
  """The cache of a block.

  Attributes:
    maps: for each gated layer, the input feature maps of both convolutions; see
      `causal_convolution`.
    attention: keys and values; None without attention.
  """

  maps: list[tuple[jax.Array, jax.Array]]
  attention: KVCache | None


class GatedLayer(nn.Module):
  """x + glu(conv(elu(conv(elu(x)))) + context), with causal convolutions.

  The last convolution is initialised small, so that a stack of layers begins
  near the identity.

  Attributes:
    channels: C.
    residual_channels: width between the convolutions.
    kernel: kernel size, odd; 1 for dense layers.
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
    types: Dtypes = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    conv = nn.Dense
    if self.kernel != 1:
      conv = functools.partial(causal.raster_conv, kernel=self.kernel)
    small = nn.initializers.variance_scaling(0.1, 'fan_in', 'truncated_normal')
    wide = 2 * self.channels
    self.conv1 = conv(self.residual_channels, **types)
    self.conv2 = conv(wide, kernel_init=small, **types)
    self.context = nn.Dense(wide, use_bias=False, **types)
    self.drop = Dropout(self.dropout)

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
      context: conditioning [B, h or 1, w or 1, D], a bias of the gates.
      train: whether dropout is active; it uses the stream 'dropout'.
    """
    y = nn.elu(self.conv1(nn.elu(x)))
    y = self.conv2(self.drop(y, deterministic=not train))
    return self._add(x, y, context)

  def start(
    self, batch_size: int, grid: tuple[int, int]
  ) -> tuple[jax.Array, jax.Array]:
    """Returns the empty feature maps of both convolutions."""
    radius = causal.window_radius(self.kernel)
    outer, inner = (
      causal.empty_map(batch_size, grid, channels, radius, self.dtype)
      for channels in (self.channels, self.residual_channels)
    )
    return outer, inner

  def step(
    self,
    maps: tuple[jax.Array, jax.Array],
    x: jax.Array,
    context: jax.Array | None,
    position: jax.Array,
  ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """Applies the layer to one pixel.

    Args:
      maps: input feature maps of both convolutions.
      x: [B, C], the features of the pixel.
      context: [B, D], its conditioning.
      position: int32 [].

    Returns:
      [B, C], and the updated feature maps.
    """
    first, second = maps
    y, first = causal.step(self.conv1, first, nn.elu(x), position)
    y, second = causal.step(self.conv2, second, nn.elu(y), position)
    return self._add(x, y, context), (first, second)

  def _add(self, x, y, context):
    if context is not None:
      y = y + self.context(context)
    return x + nn.glu(y)


class CausalAttention(nn.Module):
  """Attention of each pixel to earlier pixels and to itself.

  Queries are projections of features and coordinates; keys and values also of
  the token before the pixel. The features of a pixel at the left edge do not
  depend on that token, since it is outside of all windows.

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
    previous: jax.Array,
    coordinates: jax.Array,
    cache: KVCache | None = None,
    position: jax.Array | None = None,
  ) -> tuple[jax.Array, KVCache | None]:
    """Attends within a sequence, or with a cache from one pixel of it.

    Args:
      x: [B, N, C], the features; with a cache [B, 1, C].
      previous: the embedded token before each pixel, of the shape of `x`.
      coordinates: [N, 2]; see `get_coordinates`.
      cache: keys and values of the pixels before `position`.
      position: int32 []; needed with a cache.

    Returns:
      the output, of the shape of `x`, and with a cache the updated cache.
    """
    width = x.shape[-1]
    types: Dtypes = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    project = functools.partial(
      nn.DenseGeneral, (self.heads, width // self.heads), **types
    )
    coordinates = jnp.broadcast_to(
      coordinates[None].astype(x.dtype), (*x.shape[:2], 2)
    )
    x = jnp.concatenate([x, coordinates], axis=-1)
    query = project(name='query')(x)
    x = jnp.concatenate([x, previous], axis=-1)
    key, value = project(name='key')(x), project(name='value')(x)
    if cache is None:
      y = jax.nn.dot_product_attention(query, key, value, is_causal=True)
    else:
      assert position is not None
      new = KVCache.from_projections(key, value)
      y = cache.attend(query, new, position)
      cache = cache.write(new, position)
    return nn.DenseGeneral(width, axis=(-2, -1), name='out', **types)(y), cache


class Block(nn.Module):
  """Gated layers, followed by attention.

  Attributes:
    layer: the gated layer, which is cloned for each layer.
    layers: number of gated layers.
    heads: attention heads; 0 for no attention.
  """

  layer: GatedLayer
  layers: int
  heads: int

  def setup(self):
    """Declares the layers."""
    types: Dtypes = {
      'dtype': self.layer.dtype,
      'param_dtype': self.layer.param_dtype,
    }
    self.gated = [self.layer.clone(parent=None) for _ in range(self.layers)]
    if self.heads:
      self.attention = CausalAttention(self.heads, **types)
      self.merge = self.layer.clone(parent=None, kernel=1)

  def __call__(
    self,
    x: jax.Array,
    previous: jax.Array,
    context: jax.Array | None,
    *,
    train: bool = False,
  ) -> jax.Array:
    """Maps [B, h, w, C] to the same shape.

    Args:
      x: the features.
      previous: [B, N, C], the embedded token before each pixel.
      context: see `GatedLayer`.
      train: whether dropout is active; it uses the stream 'dropout'.
    """
    for layer in self.gated:
      x = layer(x, context, train=train)
    if not self.heads:
      return x
    b, h, w, c = x.shape
    coordinates = get_coordinates(jnp.arange(h * w), (h, w))
    y, _ = self.attention(x.reshape(b, h * w, c), previous, coordinates)
    return self.merge(x + y.reshape(x.shape), train=train)

  def start(self, batch_size: int, grid: tuple[int, int]) -> BlockCache:
    """Returns the cache before the first pixel."""
    cache, c = None, self.layer.channels
    if self.heads:
      shape = (batch_size, self.heads, grid[0] * grid[1], c // self.heads)
      cache = KVCache.zeros(shape, self.layer.dtype)
    maps = [layer.start(batch_size, grid) for layer in self.gated]
    return BlockCache(maps=maps, attention=cache)

  def step(
    self,
    cache: BlockCache,
    x: jax.Array,
    previous: jax.Array,
    context: jax.Array | None,
    position: jax.Array,
    grid: tuple[int, int],
  ) -> tuple[jax.Array, BlockCache]:
    """Applies the block to one pixel.

    Args:
      cache: the cache of the pixels before `position`.
      x: [B, C], the features of the pixel.
      previous: [B, C], the embedded token before it.
      context: [B, D], its conditioning.
      position: int32 [].
      grid: (h, w).

    Returns:
      [B, C], and the updated cache.
    """
    maps = []
    for layer, layer_maps in zip(self.gated, cache.maps, strict=True):
      x, layer_maps = layer.step(layer_maps, x, context, position)
      maps.append(layer_maps)
    if not self.heads:
      return x, dataclasses.replace(cache, maps=maps)
    y, attention = self.attention(
      x[:, None],
      previous[:, None],
      get_coordinates(position[None], grid),
      cache.attention,
      position,
    )
    return self.merge(x + y[:, 0]), BlockCache(maps=maps, attention=attention)


def get_coordinates(position: jax.Array, grid: tuple[int, int]) -> jax.Array:
  """Returns row and column [..., 2] of positions [...], in [-0.5, 0.5)."""
  h, w = grid
  row, column = jnp.divmod(position, w)
  return jnp.stack([row / h, column / w], axis=-1) - 0.5
