"""Evaluation of both stages on held-out images, each exactly once.

A batch is reduced on the devices to sums over its examples; the padding of the
last batch has mask 0. The sums are added up on the host.
"""

import math
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from train import sharding
from vq_jax import losses
from vq_jax import metrics
from vq_jax import model as model_lib
from vq_jax.autoencoders import base
from vq_jax.utils import images

Tree = Any
Sums = dict[str, np.ndarray]


def sum_over(
  function: Callable[[Tree, dict], Tree],
  variables: Tree,
  batches: Iterable[dict],
  runner: sharding.JitRunner,
) -> Sums:
  """Adds up what `function(variables, batch)` returns for all batches.

  Each batch also carries `index`, the place of each example in the data set.
  """
  total, place = None, 0
  for batch in batches:
    size = len(batch['label']) * jax.process_count()
    first = place + len(batch['label']) * jax.process_index()
    index = np.arange(first, first + len(batch['label']), dtype=np.int32)
    place += size
    sums = function(variables, runner.transfer_eval({**batch, 'index': index}))
    sums = jax.tree.map(lambda x: np.asarray(x, np.float64), sums)
    total = sums if total is None else jax.tree.map(np.add, total, sums)
  return total


def autoencoder_sums(
  autoencoder: nn.Module, perceptual: Mapping[str, nn.Module]
):
  """Returns the function that `sum_over` needs for an autoencoder.

  Its variables are those of the autoencoder and, under their names, those of
  the networks in `perceptual`, whose distances are added up, too.
  """
  grids = autoencoder.token_grids
  has_likelihood = getattr(autoencoder, 'likelihood', None) is not None

  def function(variables: Tree, batch: dict) -> Tree:
    image = images.to_float(batch['image'])
    mask = batch['mask'].astype(jnp.float32)
    *log_p, reconstruction, latent = autoencoder.apply(
      variables['autoencoder'],
      image,
      method='terms' if has_likelihood else '__call__',
    )
    sums = _image_sums(image, reconstruction, mask)
    for name, network in perceptual.items():
      shown = jnp.clip(reconstruction, 0, 1)
      distance = network.apply(variables[name], image, shown)
      sums[name] = jnp.sum(distance * mask)
    if has_likelihood:
      bits = decoder_bits(autoencoder, image, log_p[0])
      sums['decoder_bits_per_dim'] = jnp.sum(bits * mask)
    if grids:
      sums['code_counts'] = base.code_counts(
        grids, latent.indices, weights=mask
      )
    return sums

  return function


def decoder_bits(
  autoencoder: nn.Module, image: jax.Array, log_p: jax.Array
) -> jax.Array:
  """Returns -log2 p(image | codes) per pixel and channel: [B]."""
  return losses.bits_per_dim(
    log_p, math.prod(image.shape[1:]), autoencoder.likelihood.bins
  )


def vae_sums(vae: nn.Module, samples: int):
  """Returns the function that `sum_over` needs for a VAE.

  The noise is a function of the example's place, so that evaluations can be
  compared.

  Args:
    vae: the module.
    samples: k of the importance-weighted bound.
  """
  root = jax.random.key(0)

  def function(variables: Tree, batch: dict) -> Tree:
    image = images.to_float(batch['image'])
    mask = batch['mask'].astype(jnp.float32)
    reconstruction, q = vae.apply(variables, image)
    keys = jax.vmap(lambda i: jax.random.fold_in(root, i))(batch['index'])

    def log_weight(k):
      drawn = jax.vmap(lambda key: jax.random.fold_in(key, k))(keys)
      return vae.apply(variables, image, drawn, method='log_weight')

    log_weights = jax.lax.map(log_weight, jnp.arange(samples))
    bounds = {
      'kl': q.kl(),
      'elbo': log_weights.mean(axis=0),
      'iwae': losses.iwae_bound(log_weights),
    }
    sums = {name: jnp.sum(value * mask) for name, value in bounds.items()}
    return {**_image_sums(image, reconstruction, mask), **sums}

  return function


def _image_sums(
  image: jax.Array, reconstruction: jax.Array, mask: jax.Array
) -> Tree:
  """Adds up what tells how like two batches of images are."""
  reconstruction = jnp.clip(reconstruction, 0, 1)
  mse = losses.l2(image, reconstruction)
  per_image = {
    'mse': mse,
    'psnr': metrics.psnr_from_mse(mse),
    'ssim': metrics.ssim(
      image, reconstruction, window=min(11, *image.shape[1:3])
    ),
  }
  sums = {name: jnp.sum(value * mask) for name, value in per_image.items()}
  return {**sums, 'examples': mask.sum()}


def autoencoder_metrics(sums: Sums) -> dict[str, float]:
  """Turns the sums into metrics of the data set.

  `psnr` is pooled, that of the mean squared error over all pixels of the data
  set; `psnr_per_image` is the mean of the images' own. Where the decoder has a
  likelihood, `decoder_bits_per_dim` is what an image costs beyond its codes.
  """
  n = sums['examples']
  codes = metrics.codebook.dataset_stats(sums.get('code_counts', {}))
  return {
    'mse': float(sums['mse'] / n),
    'psnr': float(metrics.psnr_from_mse(sums['mse'] / n)),
    'psnr_per_image': float(sums['psnr'] / n),
    'ssim': float(sums['ssim'] / n),
    **{name: float(value) for name, value in codes.items()},
    **{
      name: float(sums[name] / n)
      for name in ('lpips', 'classifier', 'decoder_bits_per_dim')
      if name in sums
    },
  }


def vae_metrics(sums: Sums, dims: int, bins: int | None) -> dict[str, float]:
  """Turns the sums into metrics of the data set.

  `kl`, `elbo` and `iwae` are nats per image; `elbo_bits_per_dim` and
  `iwae_bits_per_dim` are bounds from above on the bits per pixel and channel.

  Args:
    sums: of `vae_sums`.
    dims: pixels times channels of an image.
    bins: see `vq_jax.autoencoders.likelihoods`.
  """
  nats = {
    name: sums[name] / sums['examples'] for name in ('kl', 'elbo', 'iwae')
  }
  return {
    **autoencoder_metrics(sums),
    **{name: float(value) for name, value in nats.items()},
    **{
      f'{name}_bits_per_dim': float(losses.bits_per_dim(nats[name], dims, bins))
      for name in ('elbo', 'iwae')
    },
  }


def reconstruction_grid(
  model: model_lib.Model, image: np.ndarray
) -> np.ndarray:
  """Returns a picture: originals in one row, reconstructions under them."""
  rows = images.stack_rows(image, model.reconstruct(image))
  return images.grid(rows, columns=len(image), scale=_scale(image))


def sample_grid(model: model_lib.Model, num: int) -> np.ndarray:
  """Returns a picture of samples; with classes, a column holds one class."""
  classes = model.vocab.num_classes if model.vocab else 0
  columns = min(classes, num) if classes > 1 else None
  made = np.asarray(model.generate(0, num=num))
  return images.grid(made, columns=columns, scale=_scale(made))


def _scale(image: np.ndarray) -> int:
  """Small images are shown larger."""
  return max(1, 96 // image.shape[1])
