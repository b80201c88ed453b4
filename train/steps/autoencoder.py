"""Stage one: learn to reconstruct through the codes."""

import dataclasses
import math

import flax.linen as nn

from train.steps import update
from vq_jax import losses
from vq_jax.autoencoders import base
from vq_jax.utils import images


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss:
  """Section `loss` of an autoencoder's card: weights of the terms.

  Attributes:
    l1: of the mean absolute error.
    l2: of the mean squared error, pixels in [0, 1].
    nll: of -log p(image | codes) in nats for each pixel and channel, where the
      decoder has a likelihood.
    quantizer: of what the quantizer adds.
  """

  l1: float = 0.0
  l2: float = 1.0
  nll: float = 0.0
  quantizer: float = 1.0


def make_loss(
  autoencoder: nn.Module, settings: Loss, axis_name: str | None = None
) -> update.LossFn:
  """Returns the loss of an autoencoder: AE, VQ-VAE or VQ-VAE-2.

  The metric `code_counts`, where there are codes, tells how often each was
  chosen; see `vq_jax.autoencoders.base.code_counts`.
  """
  grids = autoencoder.code_grids
  has_likelihood = getattr(autoencoder, 'likelihood', None) is not None
  if settings.nll and not has_likelihood:
    raise ValueError(
      'loss.nll weighs a likelihood, and this autoencoder has none; give its '
      "model one (likelihood={'type': 'discretized_logistic'}), or leave nll 0."
    )

  def loss_fn(params, state, batch, rngs):
    image = images.to_float(batch['image'])
    out, changed = autoencoder.apply(
      {**state.variables, 'params': params},
      image,
      train=True,
      mutable=['codebook'],
      rngs=rngs,
      method='terms' if has_likelihood else '__call__',
    )
    *log_p, reconstruction, latent = out
    l1 = losses.l1(image, reconstruction).mean()
    l2 = losses.l2(image, reconstruction).mean()
    loss = (
      settings.l1 * l1 + settings.l2 * l2 + settings.quantizer * latent.loss
    )
    metrics = {
      'l1': l1,
      'l2': l2,
      'quantizer_loss': latent.loss,
      **latent.stats,
    }
    if has_likelihood:
      metrics['nll'] = -log_p[0].mean() / math.prod(image.shape[1:])
      loss += settings.nll * metrics['nll']
    if grids:
      metrics['code_counts'] = base.code_counts(
        grids, latent.indices, axis_name
      )
    return loss, (changed.get('codebook', {}), metrics)

  return loss_fn
