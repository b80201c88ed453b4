"""What the transformers that model codes have in common."""

import functools
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.layers import checked
from vq_jax.layers import initializers
from vq_jax.layers import normalization
from vq_jax.layers import positions as positions_lib
from vq_jax.layers import transformer
from vq_jax.priors import vocab as vocab_lib
from vq_jax.utils import fields

_ACTIVATIONS = {
  'gelu': transformer.gelu,
  'gelu_exact': functools.partial(nn.gelu, approximate=False),
  'swiglu': nn.silu,
}


class TransformerPrior(checked.CheckedModule):
  """Embeds tokens, labels and places, and applies a stack of blocks.

  Attributes:
    vocab: what the ids mean.
    grid: (h, w), N = h * w tokens.
    layers: transformer blocks.
    width: of the embedding.
    heads: attention heads.
    head_dim: width of a head; the width over the heads by default.
    mlp_width: width of the MLP.
    norm: 'post' normalises after the residual, 'pre' before the layer.
    norm_type: 'layer' or 'rms'.
    bias: whether the blocks have biases.
    qk_norm: see `vq_jax.layers.attention.SelfAttention`.
    mlp: 'gelu', by its tanh approximation; 'gelu_exact', as VQGAN's released
      GPTs; or 'swiglu' (Shazeer 2020).
    conditioning: how a label comes in: as a 'token' in front of the others, or
      by 'adaln_zero', which shifts, scales and gates every layer (Peebles and
      Xie 2022).
    positions: 'learned' is a vector for each place, 'learned_2d' the sum of one
      for its row and one for its column (ViT-VQGAN), 'rope_2d' turns queries
      and keys (LlamaGen).
    condition_size: K of the coarser codes that the prior is conditioned on;
      None for no such codes.
    condition_grid: (h', w') of the coarser codes.
    dropout: rate on embeddings, attention and MLP.
    embedding_dropout: rate on embeddings alone; None for `dropout`.
    broadcast_dropout: see `vq_jax.layers.attention.SelfAttention`.
    mlp_dropout: see `vq_jax.layers.transformer.TransformerBlock`.
    kernel_init: initializer of the kernels, but those of modulations.
    embedding_init: initializer of all tables of vectors: tokens, places, ...
    modulation_out_init: initializer of the kernel by which the label modulates
      the last norm. The blocks' are zeros.
    epsilon: of the norms.
    scan: see `TransformerStack`.
    remat: see `TransformerStack`.
    dtype: dtype of the computation; logits are float32.
    param_dtype: dtype of the parameters.
  """

  vocab: vocab_lib.Vocab
  grid: tuple[int, int]
  layers: fields.PositiveInt = 24
  width: fields.PositiveInt = 768
  heads: fields.PositiveInt = 16
  head_dim: fields.PositiveInt | None = None
  mlp_width: fields.PositiveInt = 3072
  norm: Literal['post', 'pre'] = 'pre'
  norm_type: Literal['layer', 'rms'] = 'layer'
  bias: bool = True
  qk_norm: Literal['head', 'width'] | None = None
  mlp: Literal['gelu', 'gelu_exact', 'swiglu'] = 'gelu'
  conditioning: Literal['token', 'adaln_zero'] = 'token'
  positions: Literal['learned', 'learned_2d', 'rope_2d'] = 'learned'
  condition_size: fields.PositiveInt | None = None
  condition_grid: tuple[int, int] | None = None
  dropout: fields.Fraction = 0.1
  embedding_dropout: fields.Fraction | None = None
  broadcast_dropout: bool = True
  mlp_dropout: Literal['output', 'hidden'] = 'output'
  kernel_init: nn.initializers.Initializer = initializers.bert
  embedding_init: nn.initializers.Initializer = initializers.bert
  modulation_out_init: nn.initializers.Initializer = initializers.zeros
  epsilon: fields.PositiveFloat = 1e-6
  scan: bool = True
  remat: bool = False
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32

  # Parameters with a row for each id of the vocabulary.
  id_tables = ('embedding/embedding',)

  @property
  def num_tokens(self) -> int:
    """N, the tokens of one image."""
    return self.grid[0] * self.grid[1]

  @property
  def head_width(self) -> int:
    """The width of a head."""
    return self.head_dim or self.width // self.heads

  @property
  def modulated(self) -> bool:
    """Whether the label comes in by modulation."""
    return self.conditioning == 'adaln_zero'

  def make_embedding(self, size: int) -> nn.Embed:
    """Returns a table of `size` vectors."""
    return nn.Embed(
      size,
      self.width,
      embedding_init=self.embedding_init,
      **self.types(),
    )

  def make_dropout(self) -> nn.Dropout:
    """Returns what drops embeddings."""
    if self.embedding_dropout is None:
      return nn.Dropout(self.dropout)
    return nn.Dropout(self.embedding_dropout)

  def make_stack(self, **fields) -> transformer.TransformerStack:
    """Returns the blocks; `fields` are those that only a subclass has."""
    self._check_fields()
    block = transformer.TransformerBlock(
      heads=self.heads,
      head_dim=self.head_dim,
      mlp_width=self.mlp_width,
      norm=self.norm,
      norm_type=self.norm_type,
      bias=self.bias,
      qk_norm=self.qk_norm,
      modulated=self.modulated,
      activation=_ACTIVATIONS[self.mlp],
      gated=self.mlp == 'swiglu',
      dropout=self.dropout,
      broadcast_dropout=self.broadcast_dropout,
      mlp_dropout=self.mlp_dropout,
      kernel_init=self.kernel_init,
      epsilon=self.epsilon,
      parent=None,
      **fields,
      **self.types(),
    )
    return transformer.TransformerStack(
      block, self.layers, self.scan, self.remat
    )

  def make_norm(self, **fields) -> nn.Module:
    """Returns a norm of the prior's kind."""
    return normalization.norm(
      self.norm_type,
      self.epsilon,
      bias=self.bias,
      **fields,
      **self.types(),
    )

  def declare_norm_out(self) -> None:
    """Declares the last norm, which the label may modulate."""
    self.norm_out = self.make_norm(affine=not self.modulated)
    if self.modulated:
      self.modulation_out = normalization.Modulation(
        self.width,
        2,
        kernel_init=self.modulation_out_init,
        **self.types(),
      )

  def apply_norm_out(
    self, x: jax.Array, modulator: jax.Array | None
  ) -> jax.Array:
    """Applies the last norm to [B, N, D]; see `embed_label` for the rest."""
    x = self.norm_out(x)
    if modulator is None:
      return x
    shift, scale = self.modulation_out(modulator)
    return x * (1 + scale) + shift

  def embed_label(
    self, label: jax.Array | None
  ) -> tuple[jax.Array | None, jax.Array | None]:
    """Returns (token, modulator) [B, D]: the label's vector as one of them."""
    if label is None:
      return None, None
    vector = self.embedding(self.vocab.label_id(label))
    return (None, vector) if self.modulated else (vector, None)

  def make_places(self, prefix: int) -> 'Places':
    """Returns the positions of the grid and of `prefix` tokens before it."""
    return Places(
      kind=self.positions,
      grid=self.grid,
      prefix=prefix,
      width=self.width,
      init=self.embedding_init,
      param_dtype=self.param_dtype,
    )

  def angles(self, prefix: int) -> jax.Array | None:
    """Returns how far queries and keys are turned, [prefix + N, .]."""
    if self.positions != 'rope_2d':
      return None
    angles = positions_lib.rope_2d(self.grid, self.head_width)
    return jnp.pad(angles, ((prefix, 0), (0, 0)))

  def spread(self, coarse: jax.Array) -> jax.Array:
    """Repeats what stands at the coarser grid over this one: [B, N, D]."""
    b = coarse.shape[0]
    x = coarse.reshape(b, *self.condition_grid, self.width)
    x = jax.image.resize(x, (b, *self.grid, self.width), 'nearest')
    return x.reshape(b, self.num_tokens, self.width)

  def types(self) -> dict[str, jnp.dtype]:
    """The dtypes, as keywords."""
    return {'dtype': self.dtype, 'param_dtype': self.param_dtype}

  def _check_fields(self) -> None:
    if self.modulated and not self.vocab.num_classes:
      raise ValueError(
        "conditioning='adaln_zero' needs classes to condition on, and this "
        "prior has none; use 'token'."
      )


class Places(checked.CheckedModule):
  """A vector for each place of a sequence.

  Attributes:
    kind: see `TransformerPrior.positions`; with 'rope_2d' the vectors are 0.
    grid: (h, w).
    prefix: tokens before the grid; with rows and columns they have none.
    width: D.
    init: initializer of the tables.
    param_dtype: dtype of the parameters.
  """

  kind: Literal['learned', 'learned_2d', 'rope_2d']
  grid: tuple[int, int]
  prefix: int
  width: fields.PositiveInt
  init: nn.initializers.Initializer = initializers.bert
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
    places = table('rows', h)[:, None] + table('columns', w)[None]
    return jnp.pad(places.reshape(h * w, -1), ((self.prefix, 0), (0, 0)))
