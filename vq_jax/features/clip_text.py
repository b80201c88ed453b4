"""The text encoder of CLIP."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.features import clip_config
from vq_jax.features.clip_config import CLIPConfig
from vq_jax.layers import transformer

_normal = nn.initializers.normal


class TextTransformer(nn.Module):
  """The causal transformer of CLIP, whose last token is the embedding.

  Attributes:
    config: sizes.
    remat: whether each block is computed again in the backward pass.
    dtype: dtype of the computation.
  """

  config: CLIPConfig
  remat: bool = False
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, tokens: jax.Array) -> jax.Array:
    """Maps int32 [B, N] to float32 [B, D], N at most `context_length`."""
    config = self.config
    x = nn.Embed(
      config.vocab_size,
      config.text_width,
      embedding_init=_normal(0.02),
      dtype=self.dtype,
      name='embedding',
    )(tokens)
    table = self.param(
      'position_embedding',
      _normal(0.01),
      (config.context_length, config.text_width),
    )
    table = table[: tokens.shape[1]].astype(x.dtype)
    x = x + jnp.expand_dims(table, 0)
    stack = config.text_transformer(remat=self.remat, dtype=self.dtype)
    x, _ = transformer.TransformerStack(stack, causal=True, name='stack')(x)
    x = jnp.take_along_axis(x, self._end(tokens)[:, None, None], axis=1)
    x = nn.LayerNorm(epsilon=clip_config.EPSILON, name='norm_out')(x[:, 0])
    return nn.Dense(config.embed_dim, use_bias=False, name='head')(x)

  def _end(self, tokens: jax.Array) -> jax.Array:
    """Returns the position int32 [B] of the token that ends each text."""
    if self.config.end_token is not None:
      tokens = tokens == self.config.end_token
    return jnp.argmax(tokens, axis=1)
