"""Trains a prior to predict masked tokens (MaskGIT, arXiv:2202.04200)."""

import dataclasses
from typing import ClassVar
from typing import Literal

import jax
import jax.numpy as jnp

from train.tasks import prior as prior_lib
from train.tasks.base import Setup
from train.tasks.base import Task
from train.tasks.base import get_loss_config
from vq_jax import losses
from vq_jax import priors
from vq_jax import samplers
from vq_jax.model import Model
from vq_jax.samplers import schedules
from vq_jax.utils import fields
from vq_jax.utils.argmax import argmax


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss(prior_lib.LossConfig):
  """`config.loss`: which tokens are masked, and how the loss is averaged.

  Attributes:
    schedule: name of the schedule of the mask ratio; see
      `vq_jax.samplers.schedules`.
    min_ratio: the lowest mask ratio.
    mask_ratio_per: whether each 'example' has a mask ratio of its own, or the
      whole 'batch' has one (MAGVIT).
    mask: 'exact' masks this fraction of the tokens, 'independent' masks each
      token with this probability (MaskBit, Halton-MaskGIT).
    label_smoothing: probability that is spread over all codes.
    unmasked_weight: weight of the loss on tokens that are not masked: 0 counts
      masked tokens only (MaskGIT), 1 counts all alike, TiTok uses 0.1.
    loss_reduction: 'tokens' averages over all masked tokens of the batch: the
      paper's formula, which sums over each example. 'examples' averages over
      each example first, and then over the examples, as Google's code does
      (`weighted_sequence_cross_entropy_loss`): an example with few masked
      tokens counts as much as others. With the cosine schedule those with at
      most 26 of 256 tokens masked have 0.5 % of the weight by tokens and 6.5 %
      by examples.
  """

  schedule: str = 'cosine'
  min_ratio: fields.Fraction = 0.0
  mask_ratio_per: Literal['example', 'batch'] = 'example'
  mask: Literal['exact', 'independent'] = 'exact'
  label_smoothing: fields.Fraction = 0.1
  unmasked_weight: fields.NonNegativeFloat = 0.0
  loss_reduction: Literal['tokens', 'examples'] = 'tokens'

  def make_masks(
    self, keys: jax.Array, num_tokens: int, batch_key: jax.Array
  ) -> jax.Array:
    """Returns random masks, bool [B, N], True where masked.

    Args:
      keys: one key per example, [B].
      num_tokens: N.
      batch_key: key of the ratio that the batch has in common, if it has one.
    """
    return priors.random_mask(
      keys,
      num_tokens,
      schedules.by_name(self.schedule),
      self.min_ratio,
      batch_key=batch_key if self.mask_ratio_per == 'batch' else None,
      independent=self.mask == 'independent',
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(prior_lib.PriorConfig):
  """The config of the task 'maskgit'.

  Attributes:
    loss: the loss.
    sampler: how images are sampled, in evaluations and by default.
  """

  loss: Loss = Loss()
  sampler: samplers.MaskGITSampler = samplers.MaskGITSampler()


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskGITTask(prior_lib.PriorTask):
  """Minimises -log p of masked tokens, given the others (section 3.1).

  Attributes:
    config: the masks and the reduction.
  """

  causal: ClassVar[bool] = False

  config: Loss

  def loss(self, params, state, batch, rngs):
    """Returns the cross-entropy of the masked tokens; see `Task.loss`."""
    config, prior = self.config, self.model.prior
    tokens, parent = self.get_tokens(state.frozen['autoencoder'], batch)
    keys = jax.vmap(jax.random.split)(batch['key'])
    mask = config.make_masks(keys[:, 0], prior.num_tokens, rngs['code'])
    logits = prior.apply(
      {'params': params},
      jnp.where(mask, prior.vocab.mask_id, tokens),
      label=priors.training_labels(
        prior.vocab, batch['label'], keys[:, 1], config.label_drop
      ),
      condition=parent,
      train=True,
      rngs={'dropout': rngs['dropout']},
    )
    nll = losses.cross_entropy(logits, tokens)
    smoothed = losses.cross_entropy(logits, tokens, config.label_smoothing)
    weights = jnp.where(mask, 1.0, config.unmasked_weight)
    hits = (argmax(logits) == tokens).astype(jnp.float32)
    metrics = {
      'masked_nll': losses.weighted_mean(nll, mask, self.axis_name),
      'masked_accuracy': losses.weighted_mean(hits, mask, self.axis_name),
      'masked_ratio': mask.mean(),
    }
    if config.loss_reduction == 'examples':
      loss = losses.mean_of_examples(smoothed, weights)
    else:
      loss = losses.weighted_mean(smoothed, weights, self.axis_name)
    return loss, (state.codebook, metrics)

  def evaluate(self, variables, batch):
    """Returns the masked loss, and a bound on the likelihood of the tokens.

    The masks of an example depend on its position in the data set, so that
    evaluations of different models can be compared. Those of training give
    `masked_nll`. Masks with any number of tokens, all numbers being equally
    likely, give a bound: the mean over the masked tokens of an example bounds
    its nats per token (autoregressive diffusion, arXiv:2110.02037, section
    2.1), as if the prior predicted the tokens in random order.
    """
    prior = self.model.prior
    tokens, parent = self.get_tokens(variables['autoencoder'], batch)
    keys = prior_lib.get_example_keys(batch)
    label = prior_lib.get_label(prior.vocab, batch)

    def get_logits(mask: jax.Array) -> jax.Array:
      masked = jnp.where(mask, prior.vocab.mask_id, tokens)
      return prior.apply(
        variables['prior'], masked, label=label, condition=parent
      )

    def mean(values: jax.Array, mask: jax.Array) -> jax.Array:
      return (values * mask).sum(axis=1) / mask.sum(axis=1)

    mask = self.config.make_masks(keys, prior.num_tokens, jax.random.key(0))
    logits, number = get_logits(mask), mask.sum(axis=1)
    hits = argmax(logits) == tokens
    found = {
      'masked_nll': (mean(losses.cross_entropy(logits, tokens), mask), number),
      'masked_accuracy': (mean(hits, mask), number),
    }
    mask = priors.random_mask(keys, prior.num_tokens, schedules.linear)
    nll = losses.cross_entropy(get_logits(mask), tokens)
    return {
      **found,
      'nll': (mean(nll, mask), jnp.ones(len(tokens))),
      **self.get_decoder_bits(variables, batch),
    }


def make_task(setup: Setup) -> Task:
  """Returns the task that a config describes, to be trained.

  Raises:
    ConfigError: if something in the config is wrong.
  """
  return MaskGITTask.create(setup)


def load_task(model: Model) -> Task:
  """Returns the task that evaluates a prior."""
  return MaskGITTask(model=model, config=get_loss_config(model, Loss))
