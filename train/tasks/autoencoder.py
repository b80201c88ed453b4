"""Trains an autoencoder: AE, VQ-VAE or VQ-VAE-2."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any
from typing import ClassVar
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from train import sharding
from train.state import TrainState
from train.tasks import checks
from train.tasks import image_grids
from train.tasks import image_metrics
from train.tasks.base import Metrics
from train.tasks.base import Setup
from train.tasks.base import Task
from train.tasks.base import get_loss_config
from vq_jax import autoencoders
from vq_jax import losses
from vq_jax.autoencoders import base as autoencoders_base
from vq_jax.config import modules
from vq_jax.config import schema
from vq_jax.model import Model
from vq_jax.runs import load as load_lib
from vq_jax.utils import fields
from vq_jax.utils import images
from vq_jax.utils.trees import Tree


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss(schema.SubConfig):
  """`config.loss`: the weights of the terms of the loss.

  Attributes:
    l1: weight of the mean absolute error.
    l2: weight of the mean squared error, of pixels in [0, 1].
    lpips: weight of the perceptual distance of VGG16 (Zhang et al. 2018).
    classifier: weight of the squared distance between the outputs of a
      classifier for both images (EfficientNet-Lite0; MaskGIT and MAGVIT use a
      ResNet-50).
    classifier_features: outputs that are compared: 'logits' (MAGVIT) or
      'pooled' features (MaskGIT).
    nll: weight of -log p(image | codes) in nats per pixel and channel, for a
      decoder with a likelihood.
    quantizer: weight of the quantizer's loss.
  """

  l1: fields.NonNegativeFloat = 0.0
  l2: fields.NonNegativeFloat = 1.0
  lpips: fields.NonNegativeFloat = 0.0
  classifier: fields.NonNegativeFloat = 0.0
  classifier_features: Literal['logits', 'pooled'] = 'logits'
  nll: fields.NonNegativeFloat = 0.0
  quantizer: fields.NonNegativeFloat = 1.0

  @property
  def perceptual(self) -> dict[str, float]:
    """Name -> weight of the perceptual distances that are used."""
    weights = {'lpips': self.lpips, 'classifier': self.classifier}
    return {name: weight for name, weight in weights.items() if weight}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(schema.Config):
  """The config of the task 'autoencoder'.

  Attributes:
    loss: the weights of the terms of the loss.
  """

  loss: Loss = Loss()


@dataclasses.dataclass(frozen=True, kw_only=True)
class AutoencoderTask(Task):
  """Minimises the distance between images and their reconstructions.

  Attributes:
    config: weights of the terms of the loss.
    perceptual: name -> network that compares two images.
    perceptual_variables: their variables, by the same names.
  """

  trained: ClassVar[str] = 'autoencoder'

  config: Loss
  perceptual: Mapping[str, nn.Module]
  perceptual_variables: Mapping[str, Tree]

  def __post_init__(self):
    if self.config.nll and not self._has_likelihood:
      raise schema.ConfigError(
        'config.loss.nll is the weight of a likelihood, but the decoder of '
        'this autoencoder has none. Give the model one, such as '
        "likelihood={'type': 'discretized_logistic'}, or leave nll at 0."
      )

  @classmethod
  def create(cls, setup: Setup, **extra: Any) -> 'AutoencoderTask':
    """Returns the task that a config describes; `extra` are further fields."""
    setup.require_images()
    model = make_model(setup)
    if isinstance(model.autoencoder, autoencoders.VAE):
      raise schema.ConfigError(
        f'the task {setup.config.task!r} does not train a model of type vae. '
        "Use the task 'vae'."
      )
    return cls(
      model=model,
      only=setup.config.optim.only,
      axis_name=setup.axis_name,
      **load_loss(setup.config.loss, abstract=setup.abstract),
      **extra,
    )

  @property
  def frozen(self) -> dict[str, Tree]:
    """The variables of the perceptual networks."""
    return {**super().frozen, **self.perceptual_variables}

  @property
  def _has_likelihood(self) -> bool:
    return getattr(self.model.autoencoder, 'likelihood', None) is not None

  def init(self, rng: jax.Array) -> Tree:
    """Returns the first variables of the autoencoder."""
    return modules.init_autoencoder(
      self.model.autoencoder, self.model.info.image_shape, rng
    )

  def loss(self, params, state, batch, rngs):
    """Returns the weighted sum of all terms; see `Task.loss`."""
    (reconstruction, rest), (codebook, metrics) = self.reconstruct(
      params, state, batch, rngs
    )
    image = images.to_float(batch['image'])
    loss, terms = self.image_loss(reconstruction, image, state.frozen)
    return loss + rest, (codebook, {**terms, **metrics})

  def reconstruct(
    self,
    params: Tree,
    state: TrainState,
    batch: Mapping[str, jax.Array],
    rngs: Mapping[str, jax.Array],
  ) -> tuple[tuple[jax.Array, jax.Array], tuple[Tree, Metrics]]:
    """Encodes and decodes a batch.

    EMA codebooks are updated and dead codes replaced, unless only parts of the
    autoencoder are trained.

    Returns:
      the reconstructions [B, H, W, C] and the sum of all terms of the loss that
      do not compare images; the new codebook, and metrics.
    """
    autoencoder = sharding.bind_axis(self.model.autoencoder, self.axis_name)
    image = images.to_float(batch['image'])
    outputs, changed = autoencoder.apply(
      {**state.variables, 'params': params},
      image,
      train=not self.only,
      mutable=['codebook'],
      rngs=rngs,
      method='likelihood_terms' if self._has_likelihood else '__call__',
    )
    *log_p, reconstruction, latent = outputs
    loss = self.config.quantizer * latent.loss
    metrics = {'quantizer_loss': latent.loss, **latent.stats}
    if self._has_likelihood:
      metrics['nll'] = -log_p[0].mean() / math.prod(image.shape[1:])
      loss += self.config.nll * metrics['nll']
    if autoencoder.token_grids:
      metrics['code_counts'] = autoencoders_base.code_counts(
        autoencoder.token_grids, latent.indices, self.axis_name
      )
    return (reconstruction, loss), (changed.get('codebook', {}), metrics)

  def image_loss(
    self,
    reconstruction: jax.Array,
    image: jax.Array,
    frozen: Mapping[str, Tree],
  ) -> tuple[jax.Array, Metrics]:
    """Returns the terms of the loss that compare images, and metrics."""
    metrics = {
      'l1': losses.l1(image, reconstruction).mean(),
      'l2': losses.l2(image, reconstruction).mean(),
    }
    loss = self.config.l1 * metrics['l1'] + self.config.l2 * metrics['l2']
    for name, weight in self.config.perceptual.items():
      distance = self.perceptual[name].apply(
        frozen[name], image, reconstruction
      )
      metrics[name] = distance.mean()
      loss += weight * metrics[name]
    return loss, metrics

  def evaluate(self, variables, batch):
    """Returns what compares images, and counts codes; see `Task.evaluate`."""
    autoencoder = self.model.autoencoder
    image = images.to_float(batch['image'])
    *log_p, reconstruction, latent = autoencoder.apply(
      variables['autoencoder'],
      image,
      method='likelihood_terms' if self._has_likelihood else '__call__',
    )
    found = image_metrics.compare_images(image, reconstruction)
    ones = jnp.ones(len(image))
    for name, network in self.perceptual.items():
      distance = network.apply(
        variables[name], image, jnp.clip(reconstruction, 0, 1)
      )
      found[name] = (distance, ones)
    if self._has_likelihood:
      found['decoder_bits_per_dim'] = (
        image_metrics.get_decoder_bits(autoencoder, image, log_p[0]),
        ones,
      )
    if autoencoder.token_grids:
      found['code_counts'] = autoencoders_base.code_counts(
        autoencoder.token_grids,
        latent.indices,
        weights=batch['mask'].astype(jnp.float32),
      )
    return found

  def summarize(self, means):
    """Adds `psnr`, that of the mean squared error over the data set."""
    return image_metrics.add_psnr(means)

  def make_images(self, model, batches, num):
    """Returns a grid of reconstructions; see `Task.make_images`."""
    grid = image_grids.make_reconstruction_grid(model, batches, num)
    return {'reconstructions': grid}


def make_task(setup: Setup) -> Task:
  """Returns the task that a config describes, to be trained.

  Raises:
    ConfigError: if something in the config is wrong.
    MissingWeights: if the loss needs released weights that are not there.
  """
  return AutoencoderTask.create(setup)


def load_task(model: Model) -> Task:
  """Returns the task that evaluates an autoencoder."""
  return AutoencoderTask(model=model, **load_loss(get_loss_config(model, Loss)))


def make_model(setup: Setup) -> Model:
  """Returns the model of an autoencoder, without variables.

  Raises:
    ConfigError: if it does not reconstruct images of the data's shape.
  """
  module = modules.make_autoencoder(setup.run_config)
  checks.check_output(module, setup.image_shape)
  return load_lib.make_model(module, {}, setup.run_config)


def load_loss(loss: Loss, *, abstract: bool = False) -> dict[str, Any]:
  """Loads the networks of a loss: fields of an `AutoencoderTask`.

  Args:
    loss: the weights of its terms.
    abstract: whether their variables are shapes, for which no file is read.

  Raises:
    MissingWeights: if released weights are not found.
  """
  loaders = {
    'lpips': losses.load_lpips,
    'classifier': functools.partial(
      losses.load_classifier_distance, features=loss.classifier_features
    ),
  }
  loaded = {name: loaders[name](abstract=abstract) for name in loss.perceptual}
  return {
    'config': loss,
    'perceptual': {name: module for name, (module, _) in loaded.items()},
    'perceptual_variables': {
      name: variables for name, (_, variables) in loaded.items()
    },
  }
