"""The autoregressive transformer of VQGAN and ViT-VQGAN.

Esser et al. 2021, section 3.2; Yu et al. 2022, section 4.
"""

from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from vq_jax.layers import attention
from vq_jax.layers import initializers
from vq_jax.priors import base
from vq_jax.priors import transformer as transformer_prior
from vq_jax.utils import fields


@flax.struct.dataclass
class Cache:
  """What sampling keeps from step to step.

  Attributes:
    blocks: keys and values, [layers, B, heads, N, head_dim].
    first: [B, D], what stands in front of the first token.
    modulator: [B, D], if the label comes in by modulation.
    condition: [B, N, D], if there are coarser codes.
  """

  blocks: attention.KVCache
  first: jax.Array
  modulator: jax.Array | None
  condition: jax.Array | None


class AutoregressiveTransformer(transformer_prior.TransformerPrior):
  """Predicts each token from those before it, row by row.

  The sequence is the label (or, without one, a learned vector) and then all
  tokens but the last. The defaults are VQGAN's transformer for ImageNet with
  307 M parameters.

  Attributes:
    width: of the embedding.
    mlp_width: width of the MLP.
    broadcast_dropout: see `vq_jax.layers.attention.SelfAttention`.
    kernel_init: see `TransformerPrior`.
    embedding_init: see `TransformerPrior`; VQGAN's places begin at 0.
  """

  width: fields.PositiveInt = 1024
  mlp_width: fields.PositiveInt = 4096
  broadcast_dropout: bool = False
  kernel_init: nn.initializers.Initializer = initializers.gpt
  embedding_init: nn.initializers.Initializer = initializers.gpt

  def setup(self):
    """Declares tables, blocks and head."""
    self.embedding = self.make_embedding(self.vocab.num_known)
    self.places = self.make_places(prefix=1)
    self.transformer = self.make_stack(causal=True)
    self.drop = self.make_dropout()
    if self.modulated or not self.vocab.num_classes:
      self.start_token = self.param(
        'start_token', self.embedding_init, (self.width,), self.param_dtype
      )
    if self.condition_size is not None:
      self.condition_embedding = self.make_embedding(self.condition_size)
    self.declare_norm_out()
    self.head = nn.Dense(
      self.vocab.codebook_size,
      use_bias=False,
      kernel_init=self.kernel_init,
      **self.types(),
    )

  def __call__(
    self,
    tokens: jax.Array,
    *,
    label: jax.Array | None = None,
    condition: jax.Array | None = None,
    train: bool = False,
  ) -> jax.Array:
    """Returns the logits of each token, given those before it.

    Args:
      tokens: int32 [B, N], codes.
      label: int32 [B], a class or `vocab.null_label`; needed if the
        vocabulary has classes, None otherwise.
      condition: int32 [B, h' * w'], coarser codes, if the prior has such.
      train: whether dropout acts, drawing from the stream 'dropout'.

    Returns:
      float32 [B, N, K].

    Raises:
      ValueError: if the tokens are not N, or label or condition is missing or
        too much.
    """
    base.check_tokens(tokens, self.grid)
    first, modulator, spread = self._context(len(tokens), label, condition)
    x = jnp.concatenate(
      [first[:, None], self.embedding(tokens[:, :-1])], axis=1
    )
    x += jnp.expand_dims(self.places()[: self.num_tokens].astype(x.dtype), 0)
    if spread is not None:
      x += spread
    angles = self.angles(prefix=1)
    x, _ = self.transformer(
      self.drop(x, deterministic=not train),
      condition=modulator,
      angles=None if angles is None else angles[: self.num_tokens],
      train=train,
    )
    return self._logits(x, modulator)

  def start(
    self,
    batch_size: int,
    *,
    label: jax.Array | None = None,
    condition: jax.Array | None = None,
  ) -> Cache:
    """Returns the cache before the first step; see `__call__` for the rest."""
    first, modulator, spread = self._context(batch_size, label, condition)
    shape = (
      self.layers,
      batch_size,
      self.heads,
      self.num_tokens,
      self.head_width,
    )
    return Cache(
      blocks=attention.KVCache.zeros(shape, self.dtype),
      first=first,
      modulator=modulator,
      condition=spread,
    )

  def step(
    self, cache: Cache, previous: jax.Array, position: jax.Array
  ) -> tuple[jax.Array, Cache]:
    """Returns the logits of one token, and the cache for the next.

    Args:
      cache: of the steps before.
      previous: int32 [B], the token before; of no account at position 0.
      position: int32 [], which token; they come in turn, from 0.

    Returns:
      float32 [B, K], cache.
    """

    def here(x, axis=0):
      return jax.lax.dynamic_slice_in_dim(x, position, 1, axis)

    x = jnp.where(position == 0, cache.first, self.embedding(previous))[:, None]
    x += jnp.expand_dims(here(self.places()).astype(x.dtype), 0)
    if cache.condition is not None:
      x += here(cache.condition, axis=1)
    angles = self.angles(prefix=1)
    x, blocks = self.transformer(
      x,
      condition=cache.modulator,
      angles=None if angles is None else here(angles),
      cache=cache.blocks,
      position=position,
    )
    logits = self._logits(x, cache.modulator)
    return logits[:, 0], cache.replace(blocks=blocks)

  def _context(self, batch_size, label, condition) -> tuple[Any, Any, Any]:
    """Returns the first vector, the modulator and the coarser codes."""
    base.check_label(label, self.vocab)
    base.check_condition(condition, self.condition_grid)
    first, modulator = self.embed_label(label)
    if first is None:
      first = jnp.tile(self.start_token.astype(self.dtype), (batch_size, 1))
    spread = None
    if condition is not None:
      spread = self.spread(self.condition_embedding(condition))
    return first, modulator, spread

  def _logits(self, x, modulator):
    return self.head(self.apply_norm_out(x, modulator)).astype(jnp.float32)
