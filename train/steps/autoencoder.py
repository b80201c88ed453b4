"""Stage one: learn to reconstruct through the codes."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any
from typing import Literal

import flax.linen as nn
import jax

from train import settings as settings_lib
from train.steps import update
from vq_jax import losses
from vq_jax.autoencoders import base
from vq_jax.config import registry
from vq_jax.utils import fields
from vq_jax.utils import images

Tree = Any

# (params, state, batch, rngs) -> ((reconstruction, loss of all else),
# (codebook, metrics))
Forward = Callable[..., tuple[tuple[jax.Array, jax.Array], tuple[Tree, dict]]]
# (reconstruction, image, frozen) -> (loss, metrics)
ImageLoss = Callable[..., tuple[jax.Array, dict]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss(settings_lib.Section):
  """Section `loss` of an autoencoder's card: weights of the terms.

  Attributes:
    l1: of the mean absolute error.
    l2: of the mean squared error, pixels in [0, 1].
    lpips: of the perceptual distance of VGG16 (Zhang et al. 2018).
    classifier: of the squared distance between what a classifier makes of the
      images (EfficientNet-Lite0; MaskGIT and MAGVIT have a ResNet-50).
    classifier_on: of its 'logits' (MAGVIT) or its 'pooled' features (MaskGIT).
    nll: of -log p(image | codes) in nats for each pixel and channel, where the
      decoder has a likelihood.
    quantizer: of what the quantizer adds.
  """

  l1: fields.NonNegativeFloat = 0.0
  l2: fields.NonNegativeFloat = 1.0
  lpips: fields.NonNegativeFloat = 0.0
  classifier: fields.NonNegativeFloat = 0.0
  classifier_on: Literal['logits', 'pooled'] = 'logits'
  nll: fields.NonNegativeFloat = 0.0
  quantizer: fields.NonNegativeFloat = 1.0

  def __post_init__(self):
    valid = ('logits', 'pooled')
    if self.classifier_on not in valid:
      raise registry.SpecError(
        registry.unknown('loss.classifier_on', self.classifier_on, valid)
      )

  def perceptual(self) -> dict[str, float]:
    """The weights of the frozen networks' distances that are in use."""
    weights = {'lpips': self.lpips, 'classifier': self.classifier}
    return {name: weight for name, weight in weights.items() if weight}


def load_perceptual(
  settings: Loss,
) -> tuple[dict[str, nn.Module], dict[str, Tree]]:
  """Loads the networks that the loss looks through: modules and variables.

  Raises:
    MissingWeights: if released weights are not to be found.
  """
  loaders = {
    'lpips': losses.load_lpips,
    'classifier': functools.partial(
      losses.load_classifier_distance, on=settings.classifier_on
    ),
  }
  found = {name: loaders[name]() for name in settings.perceptual()}
  modules = {name: module for name, (module, _) in found.items()}
  return modules, {name: variables for name, (_, variables) in found.items()}


def make_image_loss(
  settings: Loss, perceptual: dict[str, nn.Module]
) -> ImageLoss:
  """Returns what compares a reconstruction to its image.

  Args:
    settings: the weights.
    perceptual: networks whose variables are `frozen` under the same names.
  """

  def image_loss(reconstruction, image, frozen):
    metrics = {
      'l1': losses.l1(image, reconstruction).mean(),
      'l2': losses.l2(image, reconstruction).mean(),
    }
    loss = settings.l1 * metrics['l1'] + settings.l2 * metrics['l2']
    for name, weight in settings.perceptual().items():
      distance = perceptual[name].apply(frozen[name], image, reconstruction)
      metrics[name] = distance.mean()
      loss += weight * metrics[name]
    return loss, metrics

  return image_loss


def make_forward(
  autoencoder: nn.Module,
  settings: Loss,
  axis_name: str | None = None,
  *,
  codebook_learns: bool = True,
) -> Forward:
  """Returns what reconstructs a batch.

  The metric `code_counts`, where there are codes, tells how often each was
  chosen; see `vq_jax.autoencoders.base.code_counts`.

  Args:
    autoencoder: AE, VQ-VAE or VQ-VAE-2.
    settings: the weights.
    axis_name: the pmap axis.
    codebook_learns: whether moving averages move and dead codes are revived.
  """
  grids = autoencoder.token_grids
  has_likelihood = getattr(autoencoder, 'likelihood', None) is not None
  if settings.nll and not has_likelihood:
    raise ValueError(
      'loss.nll weighs a likelihood, and this autoencoder has none; give its '
      "model one (likelihood={'type': 'discretized_logistic'}), or leave nll 0."
    )

  def forward(params, state, batch, rngs):
    image = images.to_float(batch['image'])
    out, changed = autoencoder.apply(
      {**state.variables, 'params': params},
      image,
      train=codebook_learns,
      mutable=['codebook'],
      rngs=rngs,
      method='terms' if has_likelihood else '__call__',
    )
    *log_p, reconstruction, latent = out
    loss = settings.quantizer * latent.loss
    metrics = {'quantizer_loss': latent.loss, **latent.stats}
    if has_likelihood:
      metrics['nll'] = -log_p[0].mean() / math.prod(image.shape[1:])
      loss += settings.nll * metrics['nll']
    if grids:
      metrics['code_counts'] = base.code_counts(
        grids, latent.indices, axis_name
      )
    return (reconstruction, loss), (changed.get('codebook', {}), metrics)

  return forward


def make_loss(forward: Forward, image_loss: ImageLoss) -> update.LossFn:
  """Returns the loss of an autoencoder that has no adversary."""

  def loss_fn(params, state, batch, rngs):
    (reconstruction, rest), (codebook, metrics) = forward(
      params, state, batch, rngs
    )
    image = images.to_float(batch['image'])
    loss, terms = image_loss(reconstruction, image, state.frozen)
    return loss + rest, (codebook, {**terms, **metrics})

  return loss_fn
