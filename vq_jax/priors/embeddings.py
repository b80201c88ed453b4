"""Embeddings of tokens, labels and positions, for transformers over tokens."""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.layers import checked
from vq_jax.layers import positions as positions_lib
from vq_jax.layers import transformer as transformer_lib
from vq_jax.priors import vocab as vocab_lib
from vq_jax.utils import fields

Conditioning = Literal['token', 'adaln_zero']
Positions = Literal['learned', 'learned_2d', 'rope_2d']


def token_embedding(
  num_embeddings: int, config: transformer_lib.TransformerConfig
) -> nn.Embed:
  """Returns an embedding layer as wide as the transformer."""
  return nn.Embed(
    num_embeddings,
    config.width,
    embedding_init=config.embedding_init,
    **config.dtypes,
  )


def check_conditioning(conditioning: Conditioning, num_classes: int) -> None:
  """Raises ValueError if adaLN is asked for without classes."""
  if conditioning == 'adaln_zero' and not num_classes:
    raise ValueError(
      "conditioning='adaln_zero' needs a vocabulary with classes, and this "
      "prior has none; use conditioning='token'."
    )


def embed_label(
  embedding: nn.Embed,
  vocab: vocab_lib.Vocab,
  label: jax.Array | None,
  conditioning: Conditioning,
) -> tuple[jax.Array | None, jax.Array | None]:
  """Embeds a label as a token or as the condition of adaLN.

  Args:
    embedding: the token embedding, which has rows for labels.
    vocab: the meaning of its rows.
    label: int32 [B], or None for an unconditional prior.
    conditioning: 'token' or 'adaln_zero'.

  Returns:
    the token and the condition, of which at least one is None; the other is
    float [B, D].
  """
  if label is None:
    return None, None
  vector = embedding(vocab.label_id(label))
  return (vector, None) if conditioning == 'token' else (None, vector)


def upsample_parent(
  x: jax.Array, parent_grid: tuple[int, int], grid: tuple[int, int]
) -> jax.Array:
  """Resizes embeddings of the parent level to the grid of this level.

  Args:
    x: [B, h' * w', D].
    parent_grid: (h', w').
    grid: (h, w), multiples of (h', w').

  Returns:
    [B, h * w, D], by nearest neighbour.
  """
  b, _, d = x.shape
  x = x.reshape(b, *parent_grid, d)
  return jax.image.resize(x, (b, *grid, d), 'nearest').reshape(b, -1, d)


def rotary_angles(
  positions: Positions, grid: tuple[int, int], prefix: int, head_dim: int
) -> jax.Array | None:
  """Returns rotary angles [prefix + h * w, head_dim / 2], or None.

  Args:
    positions: kind of the position embedding; None is returned unless it is
      'rope_2d'.
    grid: (h, w).
    prefix: number of tokens before the grid; their angles are 0.
    head_dim: width of a head.
  """
  if positions != 'rope_2d':
    return None
  angles = positions_lib.rope_2d(grid, head_dim)
  return jnp.pad(angles, ((prefix, 0), (0, 0)))


class PositionEmbedding(checked.CheckedModule):
  """Learned position embeddings of a prefix and a grid of tokens.

  Attributes:
    kind: 'learned' has a vector for each position, 'learned_2d' the sum of a
      vector for its row and one for its column; with 'rope_2d' all vectors are
      0, since attention rotates queries and keys instead.
    grid: (h, w).
    prefix: number of tokens before the grid; with 'learned_2d' their vectors
      are 0.
    width: D.
    init: initializer of the tables.
    param_dtype: dtype of the parameters.
  """

  kind: Positions
  grid: tuple[int, int]
  prefix: int
  width: fields.PositiveInt
  init: nn.initializers.Initializer  # type: ignore[assignment]
  param_dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self) -> jax.Array:
    """Returns [prefix + h * w, D]."""
    h, w = self.grid

    def table(name, length):
      shape = (length, self.width)
      return self.param(name, self.init, shape, self.param_dtype)

    if self.kind == 'learned':
      return table('table', self.prefix + h * w)
    if self.kind == 'rope_2d':
      return jnp.zeros((self.prefix + h * w, self.width))
    vectors = table('rows', h)[:, None] + table('columns', w)[None]
    return jnp.pad(vectors.reshape(h * w, -1), ((self.prefix, 0), (0, 0)))


def position_embedding(
  kind: Positions,
  grid: tuple[int, int],
  prefix: int,
  config: transformer_lib.TransformerConfig,
) -> PositionEmbedding:
  """Returns the position embedding of a transformer over tokens."""
  return PositionEmbedding(
    kind, grid, prefix, config.width, config.embedding_init, config.param_dtype
  )
