"""MaskGIT's bidirectional transformer."""

from typing import ClassVar
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.layers import activations
from vq_jax.layers import initializers
from vq_jax.layers import normalization
from vq_jax.layers import transformer as transformer_lib
from vq_jax.layers.output_norm import OutputNorm
from vq_jax.layers.projection import Projection
from vq_jax.layers.tied_logits import tied_logits
from vq_jax.priors import base
from vq_jax.priors import embeddings
from vq_jax.utils import fields

PUBLISHED = transformer_lib.TransformerConfig(
  layers=24,
  width=768,
  heads=16,
  mlp_width=3072,
  norm='post',
  dropout=0.1,
  epsilon=1e-12,
)


class MaskGIT(base.Prior):
  """MaskGIT's bidirectional transformer over masked tokens.

  Predicts all tokens from those that are not masked: Chang et al. 2022, section
  3.1 (https://arxiv.org/abs/2202.04200). The defaults are the published model
  for ImageNet, in which the label is a token before the grid.

  Halton-MaskGIT (https://arxiv.org/abs/2503.17076) is this module with other
  values; see `configs/halton_maskgit_base_imagenet256.py`.

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
    registers: number of learned tokens before the grid
      (https://arxiv.org/abs/2309.16588).
    embedding_norm: whether the embeddings are normalised.
    head: layers before the logits: 'mlm' is BERT's dense layer, gelu and
      normalisation, 'norm' is the normalisation alone.
    adaln_out_init: initializer of the kernel of the last adaptive LayerNorm.

  Example:
    >>> import jax
    >>> from vq_jax import priors
    >>> prior = priors.MaskGIT(
    ...   vocab=priors.Vocab(codebook_size=16),
    ...   grid=(2, 3),
    ...   transformer=priors.TransformerConfig(
    ...     layers=1, width=8, heads=2, mlp_width=16
    ...   ),
    ... )
    >>> tokens = jax.numpy.full((1, 6), prior.vocab.mask_id)
    >>> logits, _ = prior.init_with_output(jax.random.key(0), tokens)
    >>> logits.shape
    (1, 6, 16)
  """

  causal: ClassVar[bool] = False
  id_tables: ClassVar[tuple[str, ...]] = ('embedding/embedding', 'bias_out')

  transformer: transformer_lib.TransformerConfig = PUBLISHED
  conditioning: embeddings.Conditioning = 'token'
  positions: embeddings.Positions = 'learned'
  parent_codebook_size: fields.PositiveInt | None = None
  parent_grid: tuple[int, int] | None = None
  registers: fields.NonNegativeInt = 0
  embedding_norm: bool = True
  head: Literal['mlm', 'norm'] = 'mlm'
  adaln_out_init: nn.initializers.Initializer = initializers.zeros

  @property
  def prefix(self) -> int:
    """The number of tokens before the grid: the label and the registers."""
    label = bool(self.vocab.num_classes) and self.conditioning == 'token'
    return label + self.registers

  def setup(self):
    """Declares embeddings, blocks and head."""
    embeddings.check_conditioning(self.conditioning, self.vocab.num_classes)
    base.check_parent(self.grid, self.parent_codebook_size, self.parent_grid)
    config = self.transformer
    adaln = self.conditioning == 'adaln_zero'
    self.embedding = embeddings.token_embedding(self.vocab.size, config)
    self.position_embedding = embeddings.position_embedding(
      self.positions, self.grid, self.prefix, config
    )
    self.stack = transformer_lib.TransformerStack(
      config, adaln=adaln, grid=self.grid
    )
    if self.registers:
      self.register = self.param(
        'register',
        config.embedding_init,
        (self.registers, config.width),
        config.param_dtype,
      )
    if self.parent_grid:
      self.parent_embedding = embeddings.token_embedding(
        self.parent_codebook_size, config
      )
    if self.embedding_norm:
      self.norm_in = normalization.make_norm(
        config.norm_type, config.epsilon, bias=config.bias, **config.dtypes
      )
    if self.head == 'mlm':
      self.dense_out = Projection(
        (config.width,), kernel_init=config.kernel_init, **config.dtypes
      )
    self.norm_out = OutputNorm(config, adaln, self.adaln_out_init)
    self.bias_out = self.param(
      'bias_out',
      nn.initializers.zeros_init(),
      (self.vocab.size,),
      config.param_dtype,
    )

  def __call__(
    self,
    tokens: jax.Array,
    *,
    label: jax.Array | None = None,
    condition: jax.Array | None = None,
    train: bool = False,
  ) -> jax.Array:
    """Returns the logits of all tokens.

    Args:
      tokens: int32 [B, N], codebook indices, and `vocab.mask_id` where masked.
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
    base.check_label(label, self.vocab)
    base.check_condition(condition, self.parent_grid)
    dtype = self.transformer.dtype
    x = self.embedding(tokens)
    if condition is not None:
      assert self.parent_grid is not None
      x += embeddings.upsample_parent(
        self.parent_embedding(condition), self.parent_grid, self.grid
      )
    label_token, adaln = embeddings.embed_label(
      self.embedding, self.vocab, label, self.conditioning
    )
    prefix = [] if label_token is None else [label_token[:, None]]
    if self.registers:
      prefix.append(jnp.tile(self.register.astype(dtype), (len(x), 1, 1)))
    x = jnp.concatenate([*prefix, x], axis=1)
    x += jnp.expand_dims(self.position_embedding().astype(dtype), 0)
    if self.embedding_norm:
      x = self.norm_in(x)
    angles = embeddings.rotary_angles(
      self.positions, self.grid, self.prefix, self.transformer.head_width
    )
    x, _ = self.stack(x, condition=adaln, angles=angles, train=train)
    return self._logits(x[:, self.prefix :], adaln)

  def _logits(self, x: jax.Array, adaln: jax.Array | None) -> jax.Array:
    """Returns float32 logits [B, N, K], with the embedding as their kernel.

    The rows of labels and mask, in the embedding and in the published bias, are
    not used, since only codebook indices are predicted.
    """
    if self.head == 'mlm':
      x = activations.gelu(self.dense_out(x))
    x = self.norm_out(x, adaln)
    x, kernel, bias = nn.dtypes.promote_dtype(
      x,
      self.embedding.embedding,
      self.bias_out,
      dtype=self.transformer.dtype,
    )
    k = self.vocab.codebook_size
    return tied_logits(x, kernel[:k], bias[:k]).astype(jnp.float32)
