"""Stage one without codes: the evidence lower bound of a VAE."""

import dataclasses
from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp

from train import settings as settings_lib
from train.steps import update
from vq_jax.utils import fields
from vq_jax.utils import images


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss(settings_lib.Section):
  """Section `loss` of a VAE's card.

  Attributes:
    beta: weight of the KL divergence; 1 is the evidence lower bound, more is
      the beta-VAE (Higgins et al. 2017).
    kl_warmup: duration in which beta rises linearly from 0 (Sonderby et al.
      2016).
    iwae_samples: k of the importance-weighted bound in evaluation.
  """

  beta: fields.NonNegativeFloat = 1.0
  kl_warmup: Mapping = dataclasses.field(default_factory=lambda: {'steps': 0})
  iwae_samples: fields.PositiveInt = 50


def make_loss(
  vae: nn.Module, settings: Loss, *, steps_per_epoch: float, total: int
) -> update.LossFn:
  """Returns -log p(x | z) + beta KL(q || p) in nats per image, z ~ q.

  The metric `elbo` is the bound with beta 1, in nats.
  """
  warmup = settings_lib.Duration(**settings.kl_warmup).resolve(
    steps_per_epoch=steps_per_epoch, total=total
  )

  def loss_fn(params, state, batch, rngs):
    del rngs  # the noise belongs to the examples
    image = images.to_float(batch['image'])
    log_p, q, _ = vae.apply(
      {**state.variables, 'params': params},
      image,
      batch['key'],
      method='terms',
    )
    kl = q.kl()
    beta = settings.beta * jnp.minimum((state.step + 1) / max(warmup, 1), 1.0)
    loss = (beta * kl - log_p).mean()
    metrics = {
      'nll': -log_p.mean(),
      'kl': kl.mean(),
      'elbo': (log_p - kl).mean(),
      'beta': beta,
    }
    return loss, (state.codebook, metrics)

  return loss_fn
