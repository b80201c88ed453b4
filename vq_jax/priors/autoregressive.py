"""The autoregressive transformer of VQGAN and ViT-VQGAN."""

import dataclasses
from typing import ClassVar

import flax.struct
import jax
import jax.numpy as jnp

from vq_jax.layers import initializers
from vq_jax.layers import transformer as transformer_lib
from vq_jax.layers import transformer_cache
from vq_jax.layers.output_norm import OutputNorm
from vq_jax.layers.projection import Projection
from vq_jax.priors import base
from vq_jax.priors import embeddings
from vq_jax.utils import fields

PUBLISHED = transformer_lib.TransformerConfig(
  layers=24,
  width=1024,
  heads=16,
  mlp_width=4096,
  dropout=0.1,
  broadcast_dropout=False,
  kernel_init=initializers.gpt,
  embedding_init=initializers.gpt,
)


@flax.struct.dataclass
class Context:
  """What the logits depend on besides the tokens.

  Attributes:
    first: [B, D], the input at position 0: the embedded label or the learned
      start vector.
    adaln: [B, D], the condition of the adaptive LayerNorm; None with
      `conditioning='token'`.
    parent: [B, N, D], the embedded tokens of the parent level; None without.
  """

  first: jax.Array
  adaln: jax.Array | None
  parent: jax.Array | None


@flax.struct.dataclass
class Cache:
  """The state of sampling between two steps.

  Attributes:
    blocks: keys and values; see `transformer_cache.make_cache`.
    context: see `Context`.
  """

  blocks: transformer_cache.Cache
  context: Context


class AutoregressiveTransformer(base.Prior):
  """A decoder-only transformer over tokens in raster order.

  Models p(tokens) = prod_i p(token_i | token_<i): VQGAN, Esser et al. 2021,
  section 3.2 (https://arxiv.org/abs/2012.09841), and ViT-VQGAN, Yu et al. 2022,
  section 4 (https://arxiv.org/abs/2110.04627). The input is the label, or a
  learned start vector, followed by all tokens but the last. The defaults are
  VQGAN's transformer for ImageNet with 307 M parameters.

  Attributes:
    vocab: the meaning of the token ids.
    grid: (h, w), N = h * w tokens.
    transformer: config of the transformer.
    conditioning: how the model is conditioned on the label: by a 'token' before
      the grid, or by 'adaln_zero', adaptive LayerNorm in every block.
    positions: position embedding; see `PositionEmbedding`.
    parent_codebook_size: codebook size of the parent level, for a prior that is
      conditioned on the tokens of a parent level.
    parent_grid: (h', w') of the parent level; it divides the grid.

  Example:
    >>> import jax
    >>> from vq_jax import priors
    >>> prior = priors.AutoregressiveTransformer(
    ...   vocab=priors.Vocab(codebook_size=16),
    ...   grid=(2, 3),
    ...   transformer=priors.TransformerConfig(
    ...     layers=1, width=8, heads=2, mlp_width=16
    ...   ),
    ... )
    >>> tokens = jax.numpy.zeros((1, 6), int)
    >>> logits, _ = prior.init_with_output(jax.random.key(0), tokens)
    >>> logits.shape
    (1, 6, 16)
  """

  causal: ClassVar[bool] = True
  id_tables: ClassVar[tuple[str, ...]] = ('embedding/embedding',)

  transformer: transformer_lib.TransformerConfig = PUBLISHED
  conditioning: embeddings.Conditioning = 'token'
  positions: embeddings.Positions = 'learned'
  parent_codebook_size: fields.PositiveInt | None = None
  parent_grid: tuple[int, int] | None = None

  def setup(self):
    """Declares embeddings, blocks and head."""
    embeddings.check_conditioning(self.conditioning, self.vocab.num_classes)
    base.check_parent(self.grid, self.parent_codebook_size, self.parent_grid)
    config = self.transformer
    adaln = self.conditioning == 'adaln_zero'
    self.embedding = embeddings.token_embedding(self.vocab.num_known, config)
    self.position_embedding = embeddings.position_embedding(
      self.positions, self.grid, 1, config
    )
    self.stack = transformer_lib.TransformerStack(
      config, causal=True, adaln=adaln
    )
    if adaln or not self.vocab.num_classes:
      self.start_vector = self.param(
        'start_vector',
        config.embedding_init,
        (config.width,),
        config.param_dtype,
      )
    if self.parent_grid:
      self.parent_embedding = embeddings.token_embedding(
        self.parent_codebook_size, config
      )
    self.norm_out = OutputNorm(config, adaln)
    self.head = Projection(
      (self.vocab.codebook_size,),
      use_bias=False,
      kernel_init=config.kernel_init,
      **config.dtypes,
    )

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
      condition: int32 [B, h' * w'], the tokens of the parent level, if there is
        one.
      train: whether dropout is active; it uses the stream 'dropout'.

    Returns:
      float32 [B, N, K].

    Raises:
      ValueError: if the tokens are not [B, N], or if label or condition is
        missing or not expected.
    """
    base.check_tokens(tokens, self.grid)
    context = self._context(len(tokens), label, condition)
    x = jnp.concatenate(
      [context.first[:, None], self.embedding(tokens[:, :-1])], axis=1
    )
    x += jnp.expand_dims(self._positions().astype(x.dtype), 0)
    if context.parent is not None:
      x += context.parent
    x, _ = self.stack(
      x, condition=context.adaln, angles=self._angles(), train=train
    )
    return self._logits(x, context)

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
    return Cache(
      blocks=transformer_cache.make_cache(
        self.transformer, batch_size, self.num_tokens
      ),
      context=self._context(batch_size, label, condition),
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

    def at_position(x, axis=0):
      return jax.lax.dynamic_slice_in_dim(x, position, 1, axis)

    context, angles = cache.context, self._angles()
    x = jnp.where(position == 0, context.first, self.embedding(previous))
    x = x[:, None]
    x += jnp.expand_dims(at_position(self._positions()).astype(x.dtype), 0)
    if context.parent is not None:
      x += at_position(context.parent, axis=1)
    x, blocks = self.stack(
      x,
      condition=context.adaln,
      angles=None if angles is None else at_position(angles),
      cache=cache.blocks,
      position=position,
    )
    return self._logits(x, context)[:, 0], dataclasses.replace(
      cache, blocks=blocks
    )

  def _context(
    self,
    batch_size: int,
    label: jax.Array | None,
    condition: jax.Array | None,
  ) -> Context:
    """Embeds the label and the tokens of the parent level."""
    base.check_label(label, self.vocab)
    base.check_condition(condition, self.parent_grid)
    first, adaln = embeddings.embed_label(
      self.embedding, self.vocab, label, self.conditioning
    )
    if first is None:
      start = self.start_vector.astype(self.transformer.dtype)
      first = jnp.tile(start, (batch_size, 1))
    parent = None
    if condition is not None:
      assert self.parent_grid is not None
      parent = embeddings.upsample_parent(
        self.parent_embedding(condition), self.parent_grid, self.grid
      )
    return Context(first=first, adaln=adaln, parent=parent)

  # The last token is never an input, so the last position is not used.

  def _positions(self) -> jax.Array:
    return self.position_embedding()[: self.num_tokens]

  def _angles(self) -> jax.Array | None:
    angles = embeddings.rotary_angles(
      self.positions, self.grid, 1, self.transformer.head_width
    )
    return None if angles is None else angles[: self.num_tokens]

  def _logits(self, x: jax.Array, context: Context) -> jax.Array:
    return self.head(self.norm_out(x, context.adaln)).astype(jnp.float32)
