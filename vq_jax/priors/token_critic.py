"""The Token-Critic, which tells real tokens from sampled ones."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.layers import checked
from vq_jax.layers import transformer as transformer_lib
from vq_jax.layers.output_norm import OutputNorm
from vq_jax.priors import base
from vq_jax.priors import embeddings
from vq_jax.priors import vocab as vocab_lib

PUBLISHED = transformer_lib.TransformerConfig(
  layers=20, width=768, heads=12, mlp_width=3072, dropout=0.1
)


class TokenCritic(checked.CheckedModule):
  """Predicts for each token whether it is real or sampled.

  Lezama et al. 2022, section 3 (https://arxiv.org/abs/2209.04439). The input is
  a complete grid of tokens, some of which a MaskGIT has sampled, and the label.
  The defaults are the published sizes, as far as the paper states them.

  Attributes:
    vocab: the meaning of the token ids.
    grid: (h, w), N = h * w tokens.
    transformer: config of the transformer.
    conditioning: how the model is conditioned on the label: by a 'token' before
      the grid, or by 'adaln_zero', adaptive LayerNorm in every block.
    positions: position embedding; see `PositionEmbedding`.

  Example:
    >>> import jax
    >>> from vq_jax import priors
    >>> critic = priors.TokenCritic(
    ...   vocab=priors.Vocab(codebook_size=16),
    ...   grid=(2, 3),
    ...   transformer=priors.TransformerConfig(
    ...     layers=1, width=8, heads=2, mlp_width=16
    ...   ),
    ... )
    >>> tokens = jax.numpy.zeros((1, 6), int)
    >>> logits, _ = critic.init_with_output(jax.random.key(0), tokens)
    >>> logits.shape
    (1, 6)
  """

  vocab: vocab_lib.Vocab
  grid: tuple[int, int]
  transformer: transformer_lib.TransformerConfig = PUBLISHED
  conditioning: embeddings.Conditioning = 'token'
  positions: embeddings.Positions = 'learned'

  # Parameters with a row for each id of the vocabulary.
  id_tables = ('embedding/embedding',)

  @property
  def num_tokens(self) -> int:
    """N, the number of tokens of an image."""
    return self.grid[0] * self.grid[1]

  @property
  def prefix(self) -> int:
    """The number of tokens before the grid: 1 if the label is a token."""
    return int(bool(self.vocab.num_classes) and self.conditioning == 'token')

  def setup(self):
    """Declares embeddings, blocks and head."""
    embeddings.check_conditioning(self.conditioning, self.vocab.num_classes)
    config = self.transformer
    self.embedding = embeddings.token_embedding(self.vocab.num_known, config)
    self.position_embedding = embeddings.position_embedding(
      self.positions, self.grid, self.prefix, config
    )
    self.stack = transformer_lib.TransformerStack(
      config, adaln=self.conditioning == 'adaln_zero', grid=self.grid
    )
    self.norm_out = OutputNorm(config)
    self.head = nn.Dense(1, kernel_init=config.kernel_init, **config.dtypes)

  def __call__(
    self,
    tokens: jax.Array,
    *,
    label: jax.Array | None = None,
    train: bool = False,
  ) -> jax.Array:
    """Returns the logits of being real.

    Args:
      tokens: int32 [B, N], codebook indices; none is masked.
      label: int32 [B], a class or `vocab.null_label`; needed if the
        vocabulary has classes, None otherwise.
      train: whether dropout is active; it uses the stream 'dropout'.

    Returns:
      float32 [B, N], the log-odds that a token is real.

    Raises:
      ValueError: if the tokens are not [B, N], or if the label is missing or
        not expected.
    """
    base.check_tokens(tokens, self.grid)
    base.check_label(label, self.vocab)
    x = self.embedding(tokens)
    label_token, adaln = embeddings.embed_label(
      self.embedding, self.vocab, label, self.conditioning
    )
    if label_token is not None:
      x = jnp.concatenate([label_token[:, None], x], axis=1)
    positions = self.position_embedding().astype(self.transformer.dtype)
    angles = embeddings.rotary_angles(
      self.positions, self.grid, self.prefix, self.transformer.head_width
    )
    x, _ = self.stack(
      x + jnp.expand_dims(positions, 0),
      condition=adaln,
      angles=angles,
      train=train,
    )
    x = self.norm_out(x[:, self.prefix :])
    return self.head(x)[..., 0].astype(jnp.float32)
