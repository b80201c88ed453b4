"""PixelSNAIL, the prior of VQ-VAE-2: causal convolutions and attention."""

import dataclasses
import functools
from typing import ClassVar

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from vq_jax.layers import causal_convolution
from vq_jax.layers import convolution
from vq_jax.layers import snail
from vq_jax.priors import base
from vq_jax.utils import fields
from vq_jax.utils.dtypes import Dtypes


@flax.struct.dataclass
class Cache:
  """The state of sampling between two steps.

  Attributes:
    embedded: feature map of the tokens sampled so far; see
      `causal_convolution`.
    context: features of label and parent level, [B, N, C], or None.
    blocks: the cache of each block.
  """

  embedded: jax.Array
  context: jax.Array | None
  blocks: list[snail.BlockCache]


class PixelSNAIL(base.Prior):
  """PixelSNAIL over tokens in raster order.

  Models p(tokens) = prod_i p(token_i | token_<i). Blocks of gated residual
  layers with causal convolutions alternate with causal attention: Chen et al.
  2018 (https://arxiv.org/abs/1712.09763), as in VQ-VAE-2, Razavi et al. 2019
  (https://arxiv.org/abs/1906.00446). The defaults are VQ-VAE-2's prior of the
  top level, 32 x 32. That of the bottom level, 64 x 64, has no attention
  (`heads=0`), 1024 residual channels and no output layers, and is conditioned
  on the top level.

  Differences from the papers:

  - No weight normalisation; the last convolution of a gated layer is
    initialised small instead.
  - Label and parent level, the latter after residual blocks, are biases of the
    gates.
  - The output of attention is added to the features, and a pixel attends to
    itself with the token before it; in the papers it attends to earlier pixels
    with their own tokens.

  Without attention a pixel does not depend on tokens far to the right in the
  rows just above, as in the papers.

  Attributes:
    vocab: the meaning of the token ids.
    grid: (h, w), N = h * w tokens.
    parent_codebook_size: codebook size of the parent level, for a prior that is
      conditioned on the tokens of a parent level.
    parent_grid: (h', w') of the parent level; it divides the grid.
    blocks: number of blocks of gated layers and attention.
    residual_layers: gated layers in a block.
    channels: C, width of the features.
    residual_channels: width inside a gated layer.
    kernel: kernel size of the causal convolutions, odd, at least 3.
    heads: attention heads; 0 for no attention.
    output_layers: gated 1 x 1 layers before the logits.
    parent_layers: residual blocks over the parent level.
    dropout: rate inside the gated layers.
    remat: whether the activations of a block are recomputed in the backward
      pass, which saves memory.
    dtype: dtype of the computation; logits are float32.
    param_dtype: dtype of the parameters.

  Example:
    >>> import jax
    >>> from vq_jax import priors
    >>> prior = priors.PixelSNAIL(
    ...   vocab=priors.Vocab(codebook_size=16),
    ...   grid=(2, 3),
    ...   blocks=1,
    ...   residual_layers=1,
    ...   channels=4,
    ...   residual_channels=4,
    ...   heads=1,
    ...   output_layers=0,
    ... )
    >>> tokens = jax.numpy.zeros((1, 6), int)
    >>> logits, _ = prior.init_with_output(jax.random.key(0), tokens)
    >>> logits.shape
    (1, 6, 16)
  """

  causal: ClassVar[bool] = True

  parent_codebook_size: fields.PositiveInt | None = None
  parent_grid: tuple[int, int] | None = None
  blocks: fields.NonNegativeInt = 4
  residual_layers: fields.NonNegativeInt = 5
  channels: fields.PositiveInt = 512
  residual_channels: fields.PositiveInt = 2048
  kernel: fields.PositiveInt = 5
  heads: fields.NonNegativeInt = 8
  output_layers: fields.NonNegativeInt = 20
  parent_layers: fields.NonNegativeInt = 20
  dropout: fields.Fraction = 0.1
  remat: bool = False
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32

  def setup(self):
    """Declares embeddings, blocks, output layers and parent layers."""
    self._check_fields()
    types: Dtypes = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    shape = (self.channels, self.residual_channels)
    embed = functools.partial(nn.Embed, features=self.channels, **types)
    layer = snail.GatedLayer(
      *shape, self.kernel, dropout=self.dropout, parent=None, **types
    )
    self.embedding = embed(self.vocab.codebook_size)
    self.label_embedding = embed(self.vocab.num_labels)
    self.first = causal_convolution.raster_conv(
      self.channels, self.kernel, include_center=False, **types
    )
    self.body = [
      snail.Block(layer, self.residual_layers, self.heads)
      for _ in range(self.blocks)
    ]
    self.output = [layer.clone(kernel=1) for _ in range(self.output_layers)]
    self.logits = nn.Dense(self.vocab.codebook_size, **types)
    if self.parent_grid:
      self.parent_embedding = embed(self.parent_codebook_size)
      self.parent_stack = [
        convolution.ResidualBlock(*shape, **types)
        for _ in range(self.parent_layers)
      ]

  def __call__(
    self,
    tokens: jax.Array,
    *,
    label: jax.Array | None = None,
    condition: jax.Array | None = None,
    train: bool = False,
  ) -> jax.Array:
    """Returns the logits of each token, given the tokens before it.

    Args:
      tokens: int32 [B, N], codebook indices.
      label: int32 [B], a class or `vocab.null_label`; needed if the
        vocabulary has classes, None otherwise.
      condition: int32 [B, h' * w'], the tokens of the parent level; needed with
        `parent_grid`, None otherwise.
      train: whether dropout is active; it uses the stream 'dropout'.

    Returns:
      float32 [B, N, K].

    Raises:
      ValueError: if the tokens are not [B, N], or if label or condition is
        missing or not expected.
    """
    base.check_tokens(tokens, self.grid)
    context = self._context(label, condition)
    x = self.embedding(tokens)
    previous = jnp.pad(x[:, :-1], ((0, 0), (1, 0), (0, 0)))
    x = self.first(x.reshape(-1, *self.grid, self.channels))

    def apply(block, x):
      return block(x, previous, context, train=train)

    for block in self.body:
      x = nn.remat(apply)(block, x) if self.remat else apply(block, x)
    return self._head(x.reshape(*tokens.shape, self.channels), train)

  def start(
    self,
    batch_size: int,
    *,
    label: jax.Array | None = None,
    condition: jax.Array | None = None,
  ) -> Cache:
    """Returns the cache before the first step.

    Args:
      batch_size: B.
      label: see `__call__`.
      condition: see `__call__`.
    """
    context = self._context(label, condition)
    if context is not None:
      context = jnp.broadcast_to(
        context, (batch_size, *self.grid, self.channels)
      ).reshape(batch_size, self.num_tokens, self.channels)
    return Cache(
      embedded=causal_convolution.empty_map(
        batch_size,
        self.grid,
        self.channels,
        causal_convolution.window_radius(self.kernel),
        self.dtype,
      ),
      context=context,
      blocks=[block.start(batch_size, self.grid) for block in self.body],
    )

  def step(
    self, cache: Cache, previous: jax.Array, position: jax.Array
  ) -> tuple[jax.Array, Cache]:
    """Returns the logits of one token, and the cache for the next step.

    Args:
      cache: the result of `start` or of the step before.
      previous: int32 [B], the token at `position - 1`; ignored at position 0.
      position: int32 [], 0 in the first step and one more in each step.

    Returns:
      float32 [B, K], and the updated cache.
    """
    radius = causal_convolution.window_radius(self.kernel)
    # At position 0 this writes zeros into the margin.
    previous = self.embedding(previous) * (position > 0)
    embedded = causal_convolution.write_pixel(
      cache.embedded, previous, position - 1, radius
    )
    context = cache.context
    if context is not None:
      context = jax.lax.dynamic_index_in_dim(
        context, position, axis=1, keepdims=False
      )
    x = self.first.pixel(
      causal_convolution.read_window(embedded, position, radius)
    )
    blocks = []
    for block, block_cache in zip(self.body, cache.blocks, strict=True):
      x, block_cache = block.step(
        block_cache, x, previous, context, position, self.grid
      )
      blocks.append(block_cache)
    return self._head(x), dataclasses.replace(
      cache, embedded=embedded, blocks=blocks
    )

  def _context(self, label, condition):
    """Returns features of label and parent level, [B, h or 1, w or 1, C]."""
    base.check_label(label, self.vocab)
    base.check_condition(condition, self.parent_grid)
    context = None
    if label is not None:
      context = jnp.expand_dims(self.label_embedding(label), (1, 2))
    if condition is not None:
      x = self.parent_embedding(condition)
      x = x.reshape(-1, *self.parent_grid, self.channels)
      for block in self.parent_stack:
        x = block(x)
      x = jax.image.resize(
        x, (x.shape[0], *self.grid, self.channels), 'nearest'
      )
      context = x if context is None else x + context
    return context

  def _head(self, x, train=False):
    for layer in self.output:
      x = layer(x, train=train)
    return self.logits(nn.elu(x)).astype(jnp.float32)

  def _check_fields(self):
    causal_convolution.window_radius(self.kernel, least=3)
    if self.heads and self.channels % self.heads:
      raise ValueError(
        'channels must be a multiple of heads; got '
        f'channels={self.channels} and heads={self.heads}. Change one of them, '
        'or set heads=0.'
      )
    base.check_parent(self.grid, self.parent_codebook_size, self.parent_grid)
