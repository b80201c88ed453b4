"""Trains a VAE by the evidence lower bound (Kingma and Welling 2014)."""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp

from train.tasks import autoencoder as autoencoder_task
from train.tasks import image_grids
from train.tasks import image_metrics
from train.tasks.base import Setup
from train.tasks.base import Task
from train.tasks.base import get_loss_config
from vq_jax import autoencoders
from vq_jax import losses
from vq_jax import samplers
from vq_jax.config import modules
from vq_jax.config import schema
from vq_jax.model import Model
from vq_jax.utils import fields
from vq_jax.utils import images
from vq_jax.utils.trees import Tree


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss(schema.SubConfig):
  """`config.loss`: the bound that is maximised.

  Attributes:
    beta: weight of the KL divergence: 1 is the evidence lower bound, more is
      the beta-VAE (Higgins et al. 2017).
    kl_warmup: duration in which beta rises linearly from 0 (Sonderby et al.
      2016).
    iwae_samples: k of the importance-weighted bound in evaluation (Burda et al.
      2016).

  Example:
    >>> Loss(beta=4.0, kl_warmup=schema.Duration(epochs=10)).iwae_samples
    50
  """

  beta: fields.NonNegativeFloat = 1.0
  kl_warmup: schema.Duration = schema.NO_STEPS
  iwae_samples: fields.PositiveInt = 50


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(schema.Config):
  """The config of the task 'vae'.

  Attributes:
    loss: the bound that is maximised.
  """

  loss: Loss = Loss()


@dataclasses.dataclass(frozen=True, kw_only=True)
class VAETask(Task):
  """Minimises -log p(x | z) + beta KL(q || p) in nats per image, z ~ q.

  Attributes:
    config: beta and the number of samples.
    kl_warmup: number of steps in which beta rises.
  """

  trained: ClassVar[str] = 'autoencoder'

  config: Loss
  kl_warmup: int = 0

  def init(self, rng: jax.Array) -> Tree:
    """Returns the first variables of the VAE."""
    return modules.init_autoencoder(
      self.model.autoencoder, self.model.info.image_shape, rng
    )

  def loss(self, params, state, batch, rngs):
    """Returns the negative bound; see `Task.loss`.

    The metric `elbo` is the bound with beta 1, in nats.
    """
    del rngs  # the noise of an example depends on its key
    log_p, q, _ = self.model.autoencoder.apply(
      {**state.variables, 'params': params},
      images.to_float(batch['image']),
      batch['key'],
      method='elbo_terms',
    )
    kl = q.kl()
    beta = self.config.beta * jnp.minimum(
      (state.step + 1) / max(self.kl_warmup, 1), 1.0
    )
    metrics = {
      'nll': -log_p.mean(),
      'kl': kl.mean(),
      'elbo': (log_p - kl).mean(),
      'beta': beta,
    }
    return (beta * kl - log_p).mean(), (state.codebook, metrics)

  def evaluate(self, variables, batch):
    """Returns image metrics and bounds in nats; see `Task.evaluate`.

    The noise of an example depends on its position in the data set, so that
    evaluations of different models can be compared.
    """
    vae, variables = self.model.autoencoder, variables['autoencoder']
    image = images.to_float(batch['image'])
    reconstruction, q = vae.apply(variables, image)
    keys = samplers.example_keys(jax.random.key(0), batch['index'])

    def log_weight(k):
      keys_k = samplers.fold_in(keys, k)
      return vae.apply(variables, image, keys_k, method='log_weight')

    log_weights = jax.lax.map(log_weight, jnp.arange(self.config.iwae_samples))
    bounds = {
      'kl': q.kl(),
      'elbo': log_weights.mean(axis=0),
      'iwae': losses.iwae_bound(log_weights),
    }
    ones = jnp.ones(len(image))
    return {
      **image_metrics.compare_images(image, reconstruction),
      **{name: (value, ones) for name, value in bounds.items()},
    }

  def summarize(self, means):
    """Adds the bounds on the bits per pixel and channel, from above."""
    dims = math.prod(self.model.info.image_shape)
    bins = self.model.autoencoder.likelihood.bins
    return {
      **image_metrics.add_psnr(means),
      **{
        f'{name}_bits_per_dim': float(
          losses.bits_per_dim(means[name], dims, bins)
        )
        for name in ('elbo', 'iwae')
      },
    }

  def make_images(self, model, batches, num):
    """Returns grids of reconstructions and samples; see `Task.make_images`."""
    return {
      'reconstructions': image_grids.make_reconstruction_grid(
        model, batches, num
      ),
      'samples': image_grids.make_sample_grid(model, num),
    }


def make_task(setup: Setup) -> Task:
  """Returns the task that a config describes, to be trained.

  Raises:
    ConfigError: if something in the config is wrong.
  """
  setup.require_images()
  model = autoencoder_task.make_model(setup)
  if not isinstance(model.autoencoder, autoencoders.VAE):
    raise schema.ConfigError(
      "the task 'vae' trains a model of type vae; got "
      f"{setup.config.model['type']}. Use the task 'autoencoder'."
    )
  loss = setup.config.loss
  return VAETask(
    model=model,
    config=loss,
    kl_warmup=setup.intervals.to_steps(loss.kl_warmup),
    only=setup.config.optim.only,
    axis_name=setup.axis_name,
  )


def load_task(model: Model) -> Task:
  """Returns the task that evaluates a VAE."""
  return VAETask(model=model, config=get_loss_config(model, Loss))
