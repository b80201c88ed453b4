"""A critic of tokens: which are real, which a prior has drawn."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.priors import base
from vq_jax.priors import transformer as transformer_prior
from vq_jax.utils import fields


class TokenCritic(transformer_prior.TransformerPrior):
  """Tells for each token whether it is real (Lezama et al. 2022, section 3).

  It reads a whole image of tokens, some of which a MaskGIT has filled in, and
  the label. Its logit is high where a token looks real. The defaults are the
  published size as far as it is known.

  Attributes:
    layers: transformer blocks.
    heads: attention heads.
  """

  layers: fields.PositiveInt = 20
  heads: fields.PositiveInt = 12

  @property
  def prefix(self) -> int:
    """Tokens in front of the grid."""
    return int(bool(self.vocab.num_classes) and not self.modulated)

  def setup(self):
    """Declares tables, blocks and head."""
    self.embedding = self.make_embedding(self.vocab.num_known)
    self.places = self.make_places(self.prefix)
    self.transformer = self.make_stack()
    self.drop = self.make_dropout()
    self.norm_out = self.make_norm()
    self.head = nn.Dense(1, kernel_init=self.kernel_init, **self.types())

  def __call__(
    self,
    tokens: jax.Array,
    *,
    label: jax.Array | None = None,
    condition: None = None,
    train: bool = False,
  ) -> jax.Array:
    """Returns how real each token looks.

    Args:
      tokens: int32 [B, N], codes; none is masked.
      label: int32 [B], a class or `vocab.null_label`; needed if the
        vocabulary has classes, None otherwise.
      condition: None; a critic knows no coarser codes.
      train: whether dropout acts, drawing from the stream 'dropout'.

    Returns:
      float32 [B, N], the log-odds of being real.

    Raises:
      ValueError: if the tokens are not N, or the label is missing or too much.
    """
    base.check_tokens(tokens, self.grid)
    base.check_label(label, self.vocab)
    base.check_condition(condition, self.condition_grid)
    label_token, modulator = self.embed_label(label)
    x = self.embedding(tokens)
    if label_token is not None:
      x = jnp.concatenate([label_token[:, None], x], axis=1)
    x += jnp.expand_dims(self.places().astype(self.dtype), 0)
    x, _ = self.transformer(
      self.drop(x, deterministic=not train),
      condition=modulator,
      angles=self.angles(self.prefix),
      train=train,
    )
    x = self.norm_out(x[:, self.prefix :])
    return self.head(x)[..., 0].astype(jnp.float32)
