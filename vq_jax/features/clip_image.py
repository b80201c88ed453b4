"""The image encoders of CLIP."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.features import clip_config
from vq_jax.features.clip_config import CLIPConfig
from vq_jax.layers import patches
from vq_jax.layers import transformer

_LayerNorm = functools.partial(nn.LayerNorm, epsilon=clip_config.EPSILON)
_normal = nn.initializers.normal


class VisionTransformer(nn.Module):
  """The Vision Transformer of CLIP, whose class token is the embedding.

  It has a LayerNorm between the embeddings and the first block, and no bias in
  the embedding of patches.

  Attributes:
    config: sizes; `vision` is a `ViTConfig`.
    remat: whether each block is computed again in the backward pass.
    dtype: dtype of the computation.
  """

  config: CLIPConfig
  remat: bool = False
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, image: jax.Array) -> jax.Array:
    """Maps normalised images [B, H, W, 3] to float32 [B, D]."""
    vision = self.config.vision
    assert isinstance(vision, clip_config.ViTConfig)
    std = vision.width**-0.5
    # The gradient of a strided `nn.Conv` would be a dilated convolution, which
    # costs more than the rest of the model.
    x = patches.PatchConv(
      vision.width,
      patch=vision.patch,
      stride=vision.patch,
      use_bias=False,
      dtype=self.dtype,
      name='patch_embedding',
    )(image)
    x = x.reshape(len(x), -1, vision.width)
    token = self.param('class_embedding', _normal(std), (vision.width,))
    table = self.param(
      'position_embedding',
      _normal(std),
      (self.config.grid**2 + 1, vision.width),
    )
    token = jnp.broadcast_to(token.astype(x.dtype), (len(x), 1, vision.width))
    x = jnp.concatenate([token, x], axis=1)
    x = x + jnp.expand_dims(table.astype(x.dtype), 0)
    x = _LayerNorm(dtype=self.dtype, name='norm_in')(x)
    # The last block computes the class token alone, which is all that is read.
    config = self.config.image_transformer(remat=self.remat, dtype=self.dtype)
    if config.layers > 1:
      first = dataclasses.replace(config, layers=config.layers - 1)
      x, _ = transformer.TransformerStack(first, name='stack')(x)
    if config.layers:
      x, _ = transformer.TransformerBlock(config, name='last_block')(
        x, queries=1
      )
    x = _LayerNorm(name='norm_out')(x[:, 0])
    return nn.Dense(self.config.embed_dim, use_bias=False, name='head')(x)


def _average_pool(x: jax.Array, window: int) -> jax.Array:
  """Averages disjoint windows; a last row or column that is short is cut."""
  return nn.avg_pool(x, (window, window), (window, window))


class _Bottleneck(nn.Module):
  """A residual block; a stride is an average pooling before a convolution.

  The batch norms are folded into the convolutions.
  """

  width: int
  stride: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [B, H, W, C] to [B, H / stride, W / stride, 4 * width]."""
    conv = functools.partial(nn.Conv, padding='SAME', dtype=self.dtype)
    y = nn.relu(conv(self.width, (1, 1), name='conv_0')(x))
    y = nn.relu(conv(self.width, (3, 3), name='conv_1')(y))
    if self.stride > 1:
      x, y = (_average_pool(z, self.stride) for z in (x, y))
    y = conv(4 * self.width, (1, 1), name='conv_2')(y)
    if self.stride > 1 or x.shape[-1] != y.shape[-1]:
      x = conv(4 * self.width, (1, 1), name='shortcut')(x)
    return nn.relu(x + y)


class AttentionPool(nn.Module):
  """Attention from the mean of a grid to its cells and to itself.

  Attributes:
    heads: attention heads.
    features: width of the output.
    dtype: dtype of the computation.
  """

  heads: int
  features: int
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [B, h, w, C] to float32 [B, features]."""
    b, h, w, width = x.shape
    x = x.reshape(b, h * w, width)
    x = jnp.concatenate([x.mean(axis=1, keepdims=True), x], axis=1)
    table = self.param(
      'position_embedding', _normal(width**-0.5), (h * w + 1, width)
    )
    x = x + jnp.expand_dims(table.astype(x.dtype), 0)
    query, key, value = (
      nn.DenseGeneral(
        (self.heads, width // self.heads), dtype=self.dtype, name=name
      )(tokens)
      for name, tokens in (('query', x[:, :1]), ('key', x), ('value', x))
    )
    y = jax.nn.dot_product_attention(query, key, value)
    y = y[:, 0].astype(jnp.float32)
    return nn.DenseGeneral(self.features, axis=(-2, -1), name='out')(y)


class ModifiedResNet(nn.Module):
  """The ResNet of CLIP (https://arxiv.org/abs/2103.00020, sec. 2.4).

  Three 3x3 convolutions are the stem, an average pooling stands before each
  convolution that would have a stride, and attention pools the last grid.
  Batch norms are folded into the convolutions.

  Attributes:
    config: sizes; `vision` is a `ResNetConfig`.
    remat: whether each block is computed again in the backward pass.
    dtype: dtype of the computation.
  """

  config: CLIPConfig
  remat: bool = False
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, image: jax.Array) -> jax.Array:
    """Maps normalised images [B, H, W, 3] to float32 [B, D]."""
    vision = self.config.vision
    x = image
    for i, width in enumerate((vision.width // 2,) * 2 + (vision.width,)):
      x = nn.Conv(
        width,
        (3, 3),
        strides=1 if i else 2,
        padding=1,
        dtype=self.dtype,
        name=f'stem_{i}',
      )(x)
      x = nn.relu(x)
    x = _average_pool(x, 2)
    block = nn.remat(_Bottleneck) if self.remat else _Bottleneck
    assert isinstance(vision, clip_config.ResNetConfig)
    for i, layers in enumerate(vision.layers):
      for j in range(layers):
        x = block(
          vision.width * 2**i,
          stride=2 if i and not j else 1,
          dtype=self.dtype,
          name=f'stage_{i}_block_{j}',
        )(x)
    return AttentionPool(
      vision.heads, self.config.embed_dim, dtype=self.dtype, name='pool'
    )(x)
