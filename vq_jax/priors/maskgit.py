"""MaskGIT's bidirectional transformer (Chang et al. 2022, section 3.1)."""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.layers import transformer
from vq_jax.priors import base
from vq_jax.priors import transformer as transformer_prior
from vq_jax.utils import fields


class MaskGIT(transformer_prior.TransformerPrior):
  """Predicts every token from those that are not masked.

  The defaults are the published model: the label is a token in front of the
  others, whose own output is dropped. Its modern form (Halton-MaskGIT, Besnier
  et al. 2025) is `norm='pre', norm_type='rms', bias=False, qk_norm='width',
  mlp='swiglu', conditioning='adaln_zero', registers=1, embedding_norm=False,
  head='norm', embedding_dropout=0.0, broadcast_dropout=False,
  mlp_dropout='hidden', kernel_init=xavier, embedding_init=gpt,
  modulation_out_init=xavier` (see `vq_jax.layers.initializers`).

  Attributes:
    norm: 'post' as published (BERT), or 'pre', which learns at higher rates.
    mlp_kernel: see `TransformerBlock`; 1 as published.
    registers: learned tokens in front, for the network's own use.
    embedding_norm: whether embeddings are normalised.
    head: what stands before the logits: 'mlm' is a dense layer, gelu and a norm
      (BERT), 'norm' a norm alone.
    epsilon: of the norms.
  """

  norm: Literal['post', 'pre'] = 'post'
  mlp_kernel: fields.PositiveInt = 1
  registers: fields.NonNegativeInt = 0
  embedding_norm: bool = True
  head: Literal['mlm', 'norm'] = 'mlm'
  epsilon: fields.PositiveFloat = 1e-12

  id_tables = (*transformer_prior.TransformerPrior.id_tables, 'bias_out')

  @property
  def prefix(self) -> int:
    """Tokens in front of the grid."""
    label = bool(self.vocab.num_classes) and not self.modulated
    return label + self.registers

  def setup(self):
    """Declares tables, blocks and head."""
    self.embedding = self.make_embedding(self.vocab.size)
    self.places = self.make_places(self.prefix)
    self.transformer = self.make_stack(
      grid=self.grid, mlp_kernel=self.mlp_kernel
    )
    self.drop = self.make_dropout()
    if self.registers:
      self.register = self.param(
        'register',
        self.embedding_init,
        (self.registers, self.width),
        self.param_dtype,
      )
    if self.condition_size is not None:
      self.condition_embedding = self.make_embedding(self.condition_size)
    if self.embedding_norm:
      self.norm_in = self.make_norm()
    if self.head == 'mlm':
      self.dense_out = nn.Dense(
        self.width, kernel_init=self.kernel_init, **self.types()
      )
    self.declare_norm_out()
    self.bias_out = self.param(
      'bias_out',
      nn.initializers.zeros_init(),
      (self.vocab.size,),
      self.param_dtype,
    )

  def __call__(
    self,
    tokens: jax.Array,
    *,
    label: jax.Array | None = None,
    condition: jax.Array | None = None,
    train: bool = False,
  ) -> jax.Array:
    """Returns the logits of all codes at all positions.

    Args:
      tokens: int32 [B, N], codes, and `vocab.mask_id` where masked.
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
    base.check_label(label, self.vocab)
    base.check_condition(condition, self.condition_grid)
    x = self.embedding(tokens)
    if condition is not None:
      x += self.spread(self.condition_embedding(condition))
    label_token, modulator = self.embed_label(label)
    front = [] if label_token is None else [label_token[:, None]]
    if self.registers:
      front.append(jnp.tile(self.register.astype(self.dtype), (len(x), 1, 1)))
    x = jnp.concatenate([*front, x], axis=1)
    x += jnp.expand_dims(self.places().astype(self.dtype), 0)
    if self.embedding_norm:
      x = self.norm_in(x)
    x, _ = self.transformer(
      self.drop(x, deterministic=not train),
      condition=modulator,
      angles=self.angles(self.prefix),
      train=train,
    )
    return self._logits(x[:, self.prefix :], modulator)

  def _logits(self, x, modulator):
    """Returns float32 logits of the codes, tied to the embedding.

    Only codes can be predicted: the rows of labels and mask, and their entries
    of the published bias, take no part.
    """
    if self.head == 'mlm':
      x = transformer.gelu(self.dense_out(x))
    x = self.apply_norm_out(x, modulator)
    x, codes, bias = nn.dtypes.promote_dtype(
      x, self.embedding.embedding, self.bias_out, dtype=self.dtype
    )
    k = self.vocab.codebook_size
    logits = jnp.einsum('bnd,kd->bnk', x, codes[:k])
    return (logits + jnp.expand_dims(bias[:k], (0, 1))).astype(jnp.float32)
