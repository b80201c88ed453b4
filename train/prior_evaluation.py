"""Evaluation of priors on held-out tokens; see `train.evaluation`."""

import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from train.evaluation import Sums
from train.evaluation import decoder_bits
from train.steps import causal
from train.steps import masked
from train.steps import tokens as tokens_lib
from vq_jax import losses
from vq_jax import priors
from vq_jax.samplers import schedules
from vq_jax.utils import images

Tree = Any


def sums_of(
  prior: nn.Module,
  autoencoder: nn.Module,
  settings: masked.Loss | causal.Loss,
  level: int,
):
  """Returns the function that `evaluation.sum_over` needs for a prior."""
  if isinstance(settings, causal.Loss):
    return causal_sums(prior, autoencoder, level)
  return masked_sums(prior, autoencoder, settings, level)


def masked_sums(
  prior: nn.Module,
  autoencoder: nn.Module,
  settings: masked.Loss,
  level: int = 0,
):
  """Returns the function that `sum_over` needs for a prior that fills in masks.

  The masks are a function of the example's place, so that evaluations can be
  compared. Those of training give `masked_nll`. With even ones, any number of
  tokens as likely as any other, the mean over the masked tokens of an example
  is a bound on its nats per token (Hoogeboom et al. 2022, "Autoregressive
  diffusion models", 2.1): the prior as one that decides in random order.
  """
  training = settings.masks(prior.num_tokens)
  root = jax.random.key(0)

  def even(keys, batch_key):
    del batch_key
    return priors.random_mask(keys, prior.num_tokens, schedules.linear)

  def function(variables: Tree, batch: dict) -> Tree:
    tokens, coarser = tokens_lib.tokens_of(
      autoencoder, variables['autoencoder'], batch, level
    )
    keys = jax.vmap(lambda i: jax.random.fold_in(root, i))(batch['index'])
    counted = batch['mask'].astype(jnp.float32)

    def masked_logits(draw_mask):
      mask = draw_mask(keys, root)
      logits = prior.apply(
        variables['prior'],
        jnp.where(mask, prior.vocab.mask_id, tokens),
        label=batch['label'] if prior.vocab.num_classes else None,
        condition=coarser,
      )
      return logits, mask.astype(jnp.float32)

    logits, mask = masked_logits(training)
    weights = mask * counted[:, None]
    hits = (logits.argmax(axis=-1) == tokens).astype(jnp.float32)
    sums = {
      'masked_nll': jnp.sum(losses.cross_entropy(logits, tokens) * weights),
      'masked_accuracy': jnp.sum(hits * weights),
      'masked': weights.sum(),
    }
    logits, mask = masked_logits(even)
    nll = losses.cross_entropy(logits, tokens)
    per_example = (nll * mask).sum(axis=1) / mask.sum(axis=1)
    return {
      **sums,
      'nll': jnp.sum(per_example * counted),
      'examples': counted.sum(),
      **_image_sums(autoencoder, variables['autoencoder'], batch),
    }

  return function


def causal_sums(prior: nn.Module, autoencoder: nn.Module, level: int = 0):
  """Returns the function that `sum_over` needs for an autoregressive prior."""

  def function(variables: Tree, batch: dict) -> Tree:
    tokens, coarser = tokens_lib.tokens_of(
      autoencoder, variables['autoencoder'], batch, level
    )
    logits = prior.apply(
      variables['prior'],
      tokens,
      label=batch['label'] if prior.vocab.num_classes else None,
      condition=coarser,
    )
    counted = batch['mask'].astype(jnp.float32)
    nll = losses.cross_entropy(logits, tokens).mean(axis=1)
    hits = (logits.argmax(axis=-1) == tokens).astype(jnp.float32).mean(axis=1)
    return {
      'nll': jnp.sum(nll * counted),
      'accuracy': jnp.sum(hits * counted),
      'examples': counted.sum(),
      **_image_sums(autoencoder, variables['autoencoder'], batch),
    }

  return function


def critic_sums(task, critic: nn.Module):
  """Returns the function that `sum_over` needs for a token critic.

  Args:
    task: of `train.steps.token_critic.judged`.
    critic: the module.
  """
  root = jax.random.key(0)

  def function(variables: Tree, batch: dict) -> Tree:
    keys = jax.vmap(lambda i: jax.random.fold_in(root, i))(batch['index'])
    tokens, label, real = task(variables, batch, keys)
    logits = critic.apply(variables['critic'], tokens, label=label)
    counted = batch['mask'].astype(jnp.float32)
    loss = optax.sigmoid_binary_cross_entropy(logits, real).mean(axis=1)
    hits = ((logits > 0) == real).astype(jnp.float32).mean(axis=1)
    return {
      'critic_loss': jnp.sum(loss * counted),
      'critic_accuracy': jnp.sum(hits * counted),
      'examples': counted.sum(),
    }

  return function


def critic_metrics(sums: Sums) -> dict[str, float]:
  """Turns the sums into means over the data set."""
  return {
    name: float(sums[name] / sums['examples'])
    for name in ('critic_loss', 'critic_accuracy')
  }


def _image_sums(autoencoder: nn.Module, variables: Tree, batch: dict) -> Tree:
  """Adds up what images cost beyond their tokens, where a decoder tells it."""
  likelihood = getattr(autoencoder, 'likelihood', None)
  if likelihood is None or 'image' not in batch:
    return {}
  image = images.to_float(batch['image'])
  log_p, *_ = autoencoder.apply(variables, image, method='terms')
  bits = decoder_bits(autoencoder, image, log_p)
  return {'decoder_bits_per_dim': jnp.sum(bits * batch['mask'])}


def prior_metrics(
  sums: Sums, num_tokens: int, image_shape: Sequence[int]
) -> dict[str, float]:
  """Turns the sums of either kind of prior into means over the data set.

  `bits_per_token` is what a token of an image costs: exactly, of an
  autoregressive prior; at most, of one that fills in masks. `bits_per_dim`,
  where the decoder has a likelihood, is what an image costs with its tokens,
  per pixel and channel.

  Args:
    sums: of `masked_sums` or `causal_sums`.
    num_tokens: N.
    image_shape: (H, W, C).
  """
  divisors = {'masked_nll': 'masked', 'masked_accuracy': 'masked'}
  found = {
    name: float(sums[name] / sums[divisors.get(name, 'examples')])
    for name in sums
    if name not in ('examples', 'masked')
  }
  bits = found.pop('nll') / math.log(2)
  decoder = found.pop('decoder_bits_per_dim', None)
  if decoder is not None:
    found['bits_per_dim'] = decoder + bits * num_tokens / math.prod(image_shape)
  return {'bits_per_token': bits, **found}
