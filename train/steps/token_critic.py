"""After stage two: learn which tokens a MaskGIT has drawn."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from train import settings as settings_lib
from train.steps import tokens as tokens_lib
from train.steps import update
from vq_jax import priors
from vq_jax import samplers
from vq_jax.utils import fields


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss(settings_lib.Section):
  """Section `loss` of the card of a token critic.

  Attributes:
    schedule: of the fraction that is drawn anew, by name; see
      `vq_jax.samplers.schedules`.
    temperature: of the draws.
  """

  schedule: str = 'cosine'
  temperature: fields.NonNegativeFloat = 1.0


def judged(
  critic: nn.Module,
  generator: nn.Module,
  autoencoder: nn.Module,
  settings: Loss,
  level: int = 0,
):
  """Returns the function that sets the critic's task.

  Of the tokens of an image some are masked, and the frozen generator fills them
  in, each by a draw of its own: (frozen variables, batch, keys [B]) -> tokens
  int32 [B, N], label, which are real bool [B, N].
  """
  schedule = samplers.schedules.by_name(settings.schedule)
  choice = samplers.TokenChoice(temperature=settings.temperature)
  vocab = critic.vocab

  def function(frozen, batch, keys):
    tokens, coarser = tokens_lib.tokens_of(
      autoencoder, frozen['autoencoder'], batch, level
    )
    keys = jax.vmap(jax.random.split)(keys)
    mask = priors.random_mask(keys[:, 0], generator.num_tokens, schedule)
    label = batch['label'] if vocab.num_classes else None
    logits = generator.apply(
      frozen['prior'],
      jnp.where(mask, vocab.mask_id, tokens),
      label=label,
      condition=coarser,
    )
    drawn = choice(keys[:, 1], logits)
    return jnp.where(mask, drawn, tokens), label, ~mask

  return function


def make_loss(
  critic: nn.Module,
  generator: nn.Module,
  autoencoder: nn.Module,
  settings: Loss,
  level: int = 0,
) -> update.LossFn:
  """Returns the cross-entropy of real or drawn (Token-Critic, section 3.1)."""
  task = judged(critic, generator, autoencoder, settings, level)

  def loss_fn(params, state, batch, rngs):
    tokens, label, real = task(state.frozen, batch, batch['key'])
    logits = critic.apply(
      {'params': params},
      tokens,
      label=label,
      train=True,
      rngs={'dropout': rngs['dropout']},
    )
    loss = optax.sigmoid_binary_cross_entropy(logits, real).mean()
    # A generator whose logits are NaN gives nothing to learn from.
    loss = jnp.where(jnp.any(tokens == samplers.INVALID), jnp.nan, loss)
    hits = ((logits > 0) == real).astype(jnp.float32)
    return loss, (state.codebook, {'accuracy': hits.mean()})

  return loss_fn
