"""Stage two: learn the codes, by filling in what is masked."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from train.steps import update
from vq_jax import build
from vq_jax import losses
from vq_jax import priors
from vq_jax.utils import images


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss:
  """Section `loss` of a MaskGIT card.

  Attributes:
    schedule: of the masked fraction, by name; see `build.SCHEDULES`.
    min_ratio: no fewer than this fraction is masked.
    label_smoothing: mass spread over all codes.
    unmasked_weight: of the loss on tokens that were not masked: 0 counts
      masked ones only (MaskGIT), 1 all alike, between them TiTok's 0.1.
    label_drop: how often the label is hidden, for guidance; 0 leaves the prior
      without a null class.
  """

  schedule: str = 'cosine'
  min_ratio: float = 0.0
  label_smoothing: float = 0.1
  unmasked_weight: float = 0.0
  label_drop: float = 0.1


def tokens_of(autoencoder: nn.Module, variables: Any, batch: Any) -> jax.Array:
  """Returns the tokens int32 [B, N] of a batch: its codes, or its images'."""
  if 'codes' in batch:
    return batch['codes'].reshape(batch['codes'].shape[0], -1)
  return encode(autoencoder, variables, batch['image'])


def encode(autoencoder: nn.Module, variables: Any, image: jax.Array):
  """Returns the tokens int32 [B, N] of images, row by row."""
  quantized = autoencoder.apply(
    variables, images.to_float(image), method='encode'
  )
  return quantized.indices.reshape(image.shape[0], -1)


def make_loss(
  prior: nn.Module,
  autoencoder: nn.Module,
  settings: Loss,
  axis_name: str | None = None,
) -> update.LossFn:
  """Returns the masked-token loss (MaskGIT, section 3.1).

  The frozen autoencoder turns each batch of images into tokens, unless the
  batch holds their codes.
  """
  vocab = prior.vocab
  schedule = build.lookup(build.SCHEDULES, settings.schedule, 'mask schedule')

  def loss_fn(params, state, batch, rngs):
    tokens = tokens_of(autoencoder, state.frozen['autoencoder'], batch)
    keys = jax.vmap(jax.random.split)(batch['key'])
    mask = priors.random_mask(
      keys[:, 0], prior.num_tokens, schedule, settings.min_ratio
    )
    label = batch['label'] if vocab.num_classes else None
    if vocab.null_class:
      label = priors.drop_labels(
        keys[:, 1], label, settings.label_drop, vocab.null_label
      )
    logits = prior.apply(
      {'params': params},
      jnp.where(mask, vocab.mask_id, tokens),
      label=label,
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
    loss = losses.weighted_mean(smoothed, weights, axis_name)
    return loss, (state.codebook, metrics)

  return loss_fn
