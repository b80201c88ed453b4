"""MaskGIT's bidirectional transformer (Chang et al. 2022, section 3.1)."""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.layers import transformer
from vq_jax.priors import vocab as vocab_lib


class MaskGIT(nn.Module):
  """Predicts every token from those that are not masked.

  The defaults are the published model. A class label becomes a token in front
  of the others; its own output is dropped.

  Attributes:
    vocab: what the ids mean.
    grid: (h, w), N = h * w tokens.
    layers: transformer blocks.
    width: of the embedding.
    heads: attention heads.
    mlp_width: width of the MLP.
    norm: 'post' as published (BERT), or 'pre', which learns at higher rates.
    mlp_kernel: see `TransformerBlock`; 1 as published.
    dropout: rate on embeddings, attention and MLP.
    epsilon: of LayerNorm.
    scan: see `TransformerStack`.
    remat: see `TransformerStack`.
    dtype: dtype of the computation; logits are float32.
    param_dtype: dtype of the parameters.
  """

  vocab: vocab_lib.Vocab
  grid: tuple[int, int]
  layers: int = 24
  width: int = 768
  heads: int = 16
  mlp_width: int = 3072
  norm: Literal['post', 'pre'] = 'post'
  mlp_kernel: int = 1
  dropout: float = 0.1
  epsilon: float = 1e-12
  scan: bool = True
  remat: bool = False
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32

  @property
  def num_tokens(self) -> int:
    """N, the tokens of one image."""
    return self.grid[0] * self.grid[1]

  @nn.compact
  def __call__(
    self,
    tokens: jax.Array,
    *,
    label: jax.Array | None = None,
    train: bool = False,
  ) -> jax.Array:
    """Returns the logits of all codes at all positions.

    Args:
      tokens: int32 [B, N], codes, and `vocab.mask_id` where masked.
      label: int32 [B], a class or `vocab.null_label`; needed if the
        vocabulary has classes, None otherwise.
      train: whether dropout acts, drawing from the stream 'dropout'.

    Returns:
      float32 [B, N, K].

    Raises:
      ValueError: if the tokens are not N, or the label is missing or too much.
    """
    self._check(tokens, label)
    types = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    words = nn.Embed(
      self.vocab.size,
      self.width,
      embedding_init=transformer.bert_init,
      name='embedding',
      **types,
    )
    block = transformer.TransformerBlock(
      heads=self.heads,
      mlp_width=self.mlp_width,
      norm=self.norm,
      grid=self.grid,
      mlp_kernel=self.mlp_kernel,
      dropout=self.dropout,
      epsilon=self.epsilon,
      parent=None,
      **types,
    )
    x, prefix = self._embed(words, tokens, label, train)
    x = transformer.TransformerStack(
      block, self.layers, self.scan, self.remat, name='transformer'
    )(x, train=train)
    return self._head(words, x[:, prefix:])

  def _embed(self, words, tokens, label, train):
    """Returns embeddings [B, P + N, D], and how many tokens come first: P."""
    ids, prefix = tokens, 0
    if label is not None:
      ids = jnp.concatenate([self.vocab.label_id(label)[:, None], ids], axis=1)
      prefix = 1
    positions = self.param(
      'positions',
      transformer.bert_init,
      (prefix + self.num_tokens, self.width),
      self.param_dtype,
    )
    x = words(ids) + jnp.expand_dims(positions.astype(self.dtype), 0)
    x = self._norm('embedding_norm')(x)
    return nn.Dropout(self.dropout, deterministic=not train)(x), prefix

  def _head(self, words, x):
    """Returns float32 logits of the codes, tied to the embedding.

    Only codes can be predicted: the rows of labels and mask, and their entries
    of the published bias, take no part.
    """
    x = nn.Dense(
      self.width,
      kernel_init=transformer.bert_init,
      name='head',
      dtype=self.dtype,
      param_dtype=self.param_dtype,
    )(x)
    x = self._norm('head_norm')(transformer.gelu(x))
    bias = self.param(
      'head_bias',
      nn.initializers.zeros_init(),
      (self.vocab.size,),
      self.param_dtype,
    )
    x, codes, bias = nn.dtypes.promote_dtype(
      x, words.embedding, bias, dtype=self.dtype
    )
    k = self.vocab.codebook_size
    logits = jnp.einsum('bnd,kd->bnk', x, codes[:k])
    return (logits + jnp.expand_dims(bias[:k], (0, 1))).astype(jnp.float32)

  def _norm(self, name):
    return nn.LayerNorm(
      epsilon=self.epsilon,
      name=name,
      dtype=self.dtype,
      param_dtype=self.param_dtype,
    )

  def _check(self, tokens: jax.Array, label: jax.Array | None) -> None:
    if tokens.ndim != 2 or tokens.shape[1] != self.num_tokens:
      raise ValueError(
        f'tokens must be [B, {self.num_tokens}], the {self.grid[0]} x '
        f'{self.grid[1]} grid row by row; got {tokens.shape}.'
      )
    if (label is None) == bool(self.vocab.num_classes):
      raise ValueError(
        f'this prior has {self.vocab.num_classes} classes, so label must be '
        + ('int32 [B].' if self.vocab.num_classes else 'None.')
      )
