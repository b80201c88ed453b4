"""PixelSNAIL (Chen et al. 2018), as VQ-VAE-2 uses it (Razavi et al. 2019)."""

import functools

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from vq_jax.layers import causal_convolution as causal
from vq_jax.layers import checked
from vq_jax.layers import convolution
from vq_jax.layers import snail
from vq_jax.priors import base
from vq_jax.priors import vocab as vocab_lib
from vq_jax.utils import fields


@flax.struct.dataclass
class Cache:
  """What sampling keeps.

  Attributes:
    embedded: the tokens drawn so far, a map; see `causal_convolution`.
    context: what label and coarser codes tell each pixel, [B, N, C]; None
      without.
    blocks: of each block.
  """

  embedded: jax.Array
  context: jax.Array | None
  blocks: list[snail.BlockCache]


class PixelSNAIL(checked.CheckedModule):
  """Predicts every token from those before it, by convolutions and attention.

  Gated residual layers of causal convolutions alternate with attention to all
  earlier pixels. The defaults are VQ-VAE-2's prior of its top level, 32 x 32.
  Its finer level, 64 x 64, has no attention (heads=0), 1024 residual channels
  and no output layers, but reads the coarser codes.

  What differs from the papers: there is no weight norm, instead the last
  convolution of a gated layer starts small; the label, and what residual blocks
  make of the coarser codes, are biases in the gates; what attention finds is
  added to the features, and a pixel attends to itself too, with the token
  before it, where theirs attends to earlier pixels with their own tokens.

  Attention sees all tokens. Without it a pixel is blind to what lies far to the
  right in the rows just above, as in the papers.

  Attributes:
    vocab: what the ids mean.
    grid: (h, w), N = h * w tokens.
    parent_codebook_size: K of the coarser codes; None for the coarsest level.
    parent_grid: (h', w') of the coarser codes; it divides the grid.
    blocks: how often gated layers and attention alternate.
    residual_layers: gated layers in a block.
    channels: width of the features.
    residual_channels: width inside a residual layer.
    kernel: side of the causal windows, odd, at least 3.
    heads: attention heads; 0 for no attention.
    output_layers: gated layers of 1 x 1 before the logits.
    parent_layers: residual blocks over the coarser codes.
    dropout: rate inside the gated layers.
    remat: recompute the activations of a block in the backward pass, to save
      memory.
    dtype: dtype of the computation; logits are float32.
    param_dtype: dtype of the parameters.
  """

  vocab: vocab_lib.Vocab
  grid: tuple[int, int]
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

  @property
  def num_tokens(self) -> int:
    """N, the tokens of one image."""
    return self.grid[0] * self.grid[1]

  def setup(self):
    """Declares the embeddings, the blocks and the two other stacks."""
    self._check_fields()
    types = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    shape = (self.channels, self.residual_channels)
    embed = functools.partial(nn.Embed, features=self.channels, **types)
    layer = snail.GatedLayer(
      *shape, self.kernel, dropout=self.dropout, parent=None, **types
    )
    self.embedding = embed(self.vocab.codebook_size)
    self.label_embedding = embed(self.vocab.num_labels)
    self.first = causal.raster_conv(
      self.channels, self.kernel, itself=False, **types
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
    """Returns the logits of every token, given those before it.

    Args:
      tokens: int32 [B, N], codes.
      label: int32 [B], a class or `vocab.null_label`; needed if the
        vocabulary has classes, None otherwise.
      condition: int32 [B, h' * w'], the coarser codes row by row; needed with
        `parent_grid`, None otherwise.
      train: whether dropout acts, drawing from the stream 'dropout'.

    Returns:
      float32 [B, N, K].

    Raises:
      ValueError: if the tokens are not N, or label or condition are missing or
        too much.
    """
    base.check_tokens(tokens, self.grid)
    context = self._context(label, condition)
    x = self.embedding(tokens)
    before = jnp.pad(x[:, :-1], ((0, 0), (1, 0), (0, 0)))
    x = self.first(x.reshape(-1, *self.grid, self.channels))

    def apply(block, x):
      return block(x, before, context, train=train)

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
    """Returns the cache before the first token; see `__call__`."""
    context = self._context(label, condition)
    if context is not None:
      context = jnp.broadcast_to(
        context, (batch_size, *self.grid, self.channels)
      ).reshape(batch_size, self.num_tokens, self.channels)
    return Cache(
      embedded=causal.empty_map(
        batch_size,
        self.grid,
        self.channels,
        causal.radius_of(self.kernel),
        self.dtype,
      ),
      context=context,
      blocks=[block.start(batch_size, self.grid) for block in self.body],
    )

  def step(
    self, cache: Cache, previous: jax.Array, position: jax.Array
  ) -> tuple[jax.Array, Cache]:
    """Returns the logits of one token.

    Args:
      cache: from `start`, or from the step before.
      previous: int32 [B], the token at position - 1; of no effect at 0.
      position: int32 [], row by row.

    Returns:
      float32 [B, K], and the cache for the next step.
    """
    radius = causal.radius_of(self.kernel)
    # Before the first token comes the margin, which stays zero.
    before = self.embedding(previous) * (position > 0)
    embedded = causal.write_pixel(cache.embedded, before, position - 1, radius)
    context = cache.context
    if context is not None:
      context = jax.lax.dynamic_index_in_dim(
        context, position, axis=1, keepdims=False
      )
    x = self.first.pixel(causal.read_window(embedded, position, radius))
    blocks = []
    for block, of_block in zip(self.body, cache.blocks, strict=True):
      x, of_block = block.step(
        of_block, x, before, context, position, self.grid
      )
      blocks.append(of_block)
    return self._head(x), cache.replace(embedded=embedded, blocks=blocks)

  def _context(self, label, condition):
    """Returns what is known besides the tokens: [B, h or 1, w or 1, C]."""
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
    causal.radius_of(self.kernel, least=3)
    if self.heads and self.channels % self.heads:
      raise ValueError(
        'channels must be a multiple of the attention heads; got '
        f'{self.channels} and {self.heads}. Change one, or set heads=0.'
      )
    base.check_parent(self.grid, self.parent_codebook_size, self.parent_grid)
