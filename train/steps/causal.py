"""Stage two: learn the codes one after the other."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from train import settings as settings_lib
from train.steps import tokens as tokens_lib
from train.steps import update
from vq_jax import losses
from vq_jax import priors
from vq_jax.utils import fields


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss(settings_lib.Section):
  """Section `loss` of the card of an autoregressive prior.

  Attributes:
    label_smoothing: mass spread over all codes.
    token_noise: the fraction of the tokens that the prior reads which are
      replaced by random codes, so that it learns to go on from its own
      mistakes; 1 - pkeep of taming-transformers.
    label_drop: how often the label is hidden, for guidance; 0 leaves the prior
      without a null class.
  """

  label_smoothing: fields.Fraction = 0.0
  token_noise: fields.Fraction = 0.0
  label_drop: fields.Fraction = 0.1


def make_loss(
  prior: nn.Module,
  autoencoder: nn.Module,
  settings: Loss,
  *,
  level: int = 0,
  axis_name: str | None = None,
) -> update.LossFn:
  """Returns -log p of each token given those before it, in nats per token."""
  del axis_name  # every token counts alike, so a mean of means is the mean
  vocab = prior.vocab

  def loss_fn(params, state, batch, rngs):
    tokens, coarser = tokens_lib.tokens_of(
      autoencoder, state.frozen['autoencoder'], batch, level
    )
    keys = jax.vmap(jax.random.split)(batch['key'])
    read = tokens
    if settings.token_noise:
      read = priors.random_codes(
        keys[:, 0], tokens, settings.token_noise, vocab.codebook_size
      )
    logits = prior.apply(
      {'params': params},
      read,
      label=priors.training_labels(
        vocab, batch['label'], keys[:, 1], settings.label_drop
      ),
      condition=coarser,
      train=True,
      rngs={'dropout': rngs['dropout']},
    )
    hits = (logits.argmax(axis=-1) == tokens).astype(jnp.float32)
    metrics = {
      'nll': losses.cross_entropy(logits, tokens).mean(),
      'accuracy': hits.mean(),
    }
    loss = losses.cross_entropy(logits, tokens, settings.label_smoothing)
    return loss.mean(), (state.codebook, metrics)

  return loss_fn
