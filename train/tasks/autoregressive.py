"""Trains a prior to predict each token from those before it."""

import dataclasses
from typing import ClassVar

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
from vq_jax.utils import fields
from vq_jax.utils.argmax import argmax


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss(prior_lib.LossConfig):
  """`config.loss`: the inputs and targets of the cross-entropy.

  Attributes:
    label_smoothing: probability that is spread over all codes.
    token_noise: fraction of the tokens that the prior reads which are replaced
      by random codes, so that it learns to continue after its own mistakes;
      1 - pkeep of taming-transformers.
  """

  label_smoothing: fields.Fraction = 0.0
  token_noise: fields.Fraction = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(prior_lib.PriorConfig):
  """The config of the task 'autoregressive'.

  Attributes:
    loss: the loss.
    sampler: how images are sampled, in evaluations and by default.
  """

  loss: Loss = Loss()
  sampler: samplers.AutoregressiveSampler = samplers.AutoregressiveSampler()


@dataclasses.dataclass(frozen=True, kw_only=True)
class AutoregressiveTask(prior_lib.PriorTask):
  """Minimises -log p of each token given those before it, in nats per token.

  Attributes:
    config: the inputs and targets.
  """

  causal: ClassVar[bool] = True

  config: Loss

  def loss(self, params, state, batch, rngs):
    """Returns the mean cross-entropy of all tokens; see `Task.loss`."""
    config, prior = self.config, self.model.prior
    tokens, parent = self.get_tokens(state.frozen['autoencoder'], batch)
    keys = jax.vmap(jax.random.split)(batch['key'])
    inputs = tokens
    if config.token_noise:
      inputs = priors.random_tokens(
        keys[:, 0], tokens, config.token_noise, prior.vocab.codebook_size
      )
    logits = prior.apply(
      {'params': params},
      inputs,
      label=priors.training_labels(
        prior.vocab, batch['label'], keys[:, 1], config.label_drop
      ),
      condition=parent,
      train=True,
      rngs={'dropout': rngs['dropout']},
    )
    hits = (argmax(logits) == tokens).astype(jnp.float32)
    metrics = {
      'nll': losses.cross_entropy(logits, tokens).mean(),
      'accuracy': hits.mean(),
    }
    loss = losses.cross_entropy(logits, tokens, config.label_smoothing).mean()
    return loss, (state.codebook, metrics)

  def evaluate(self, variables, batch):
    """Returns nats per token and the accuracy; see `Task.evaluate`."""
    prior = self.model.prior
    tokens, parent = self.get_tokens(variables['autoencoder'], batch)
    logits = prior.apply(
      variables['prior'],
      tokens,
      label=prior_lib.get_label(prior.vocab, batch),
      condition=parent,
    )
    hits = (argmax(logits) == tokens).astype(jnp.float32)
    ones = jnp.ones(len(tokens))
    return {
      'nll': (losses.cross_entropy(logits, tokens).mean(axis=1), ones),
      'accuracy': (hits.mean(axis=1), ones),
      **self.get_decoder_bits(variables, batch),
    }


def make_task(setup: Setup) -> Task:
  """Returns the task that a config describes, to be trained.

  Raises:
    ConfigError: if something in the config is wrong.
  """
  return AutoregressiveTask.create(setup)


def load_task(model: Model) -> Task:
  """Returns the task that evaluates a prior."""
  return AutoregressiveTask(model=model, config=get_loss_config(model, Loss))
