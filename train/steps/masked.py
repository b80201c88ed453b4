"""Stage two: learn the codes by filling in what is masked."""

import dataclasses
from collections.abc import Callable
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from train import settings as settings_lib
from train.steps import tokens as tokens_lib
from train.steps import update
from vq_jax import losses
from vq_jax import priors
from vq_jax.config import registry
from vq_jax.samplers import schedules
from vq_jax.utils import fields


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss(settings_lib.Section):
  """Section `loss` of the card of a MaskGIT.

  Attributes:
    schedule: of the masked fraction, by name; see
      `vq_jax.samplers.schedules`.
    min_ratio: no fewer than this fraction is masked.
    ratio_of: whether each 'example' draws its ratio, or the whole 'batch' one
      (MAGVIT).
    mask: 'exact' masks so many tokens, 'independent' each by itself with that
      probability (MaskBit, Halton-MaskGIT).
    label_smoothing: mass spread over all codes.
    unmasked_weight: of the loss on tokens that were not masked: 0 counts
      masked ones only (MaskGIT), 1 all alike, between them TiTok's 0.1.
    mean_of: 'tokens' makes all tokens that count equal, however many of an
      example are masked: the paper's formula, which sums over each example.
      'examples' averages each example's first, and then these, as Google's
      code does (`weighted_sequence_cross_entropy_loss`): examples of which
      little is masked count as much as others. With the cosine schedule those
      with at most 26 of 256 tokens masked have 0.5 % of the weight by tokens
      and 6.5 % by examples.
    label_drop: how often the label is hidden, for guidance; 0 leaves the prior
      without a null class.
  """

  schedule: str = 'cosine'
  min_ratio: fields.Fraction = 0.0
  ratio_of: Literal['example', 'batch'] = 'example'
  mask: Literal['exact', 'independent'] = 'exact'
  label_smoothing: fields.Fraction = 0.1
  unmasked_weight: fields.NonNegativeFloat = 0.0
  mean_of: Literal['tokens', 'examples'] = 'tokens'
  label_drop: fields.Fraction = 0.1

  def __post_init__(self):
    for name, valid in (
      ('ratio_of', ('example', 'batch')),
      ('mask', ('exact', 'independent')),
      ('mean_of', ('tokens', 'examples')),
    ):
      if getattr(self, name) not in valid:
        raise registry.SpecError(
          registry.unknown(f'loss.{name}', getattr(self, name), valid)
        )

  def masks(self, num_tokens: int) -> Callable[..., jax.Array]:
    """Returns the function (keys [B], batch_key) -> bool [B, N]."""
    schedule = schedules.by_name(self.schedule)

    def draw(keys, batch_key):
      return priors.random_mask(
        keys,
        num_tokens,
        schedule,
        self.min_ratio,
        batch_key=batch_key if self.ratio_of == 'batch' else None,
        independent=self.mask == 'independent',
      )

    return draw


def make_loss(
  prior: nn.Module,
  autoencoder: nn.Module,
  settings: Loss,
  *,
  level: int = 0,
  axis_name: str | None = None,
) -> update.LossFn:
  """Returns the masked-token loss (MaskGIT, section 3.1)."""
  vocab = prior.vocab
  draw_mask = settings.masks(prior.num_tokens)

  def loss_fn(params, state, batch, rngs):
    tokens, coarser = tokens_lib.tokens_of(
      autoencoder, state.frozen['autoencoder'], batch, level
    )
    keys = jax.vmap(jax.random.split)(batch['key'])
    mask = draw_mask(keys[:, 0], rngs['code'])
    logits = prior.apply(
      {'params': params},
      jnp.where(mask, vocab.mask_id, tokens),
      label=priors.training_labels(
        vocab, batch['label'], keys[:, 1], settings.label_drop
      ),
      condition=coarser,
      train=True,
      rngs={'dropout': rngs['dropout']},
    )
    nll = losses.cross_entropy(logits, tokens)
    smoothed = losses.cross_entropy(logits, tokens, settings.label_smoothing)
    weights = jnp.where(mask, 1.0, settings.unmasked_weight)
    hits = (logits.argmax(axis=-1) == tokens).astype(jnp.float32)
    metrics = {
      'masked_nll': losses.weighted_mean(nll, mask, axis_name),
      'masked_accuracy': losses.weighted_mean(hits, mask, axis_name),
      'masked_ratio': mask.mean(),
    }
    if settings.mean_of == 'examples':
      loss = losses.mean_of_examples(smoothed, weights)
    else:
      loss = losses.weighted_mean(smoothed, weights, axis_name)
    return loss, (state.codebook, metrics)

  return loss_fn
