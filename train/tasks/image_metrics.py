"""Metrics that compare held-out images with their reconstructions."""

import math
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vq_jax import losses
from vq_jax import metrics


def compare_images(
  image: jax.Array, reconstruction: jax.Array
) -> dict[str, tuple[jax.Array, jax.Array]]:
  """Returns the image metrics of a batch, see `Task.evaluate`.

  Args:
    image: float [B, H, W, C] in [0, 1].
    reconstruction: the same; it is clipped to [0, 1].
  """
  values = metrics.compare_images(image, reconstruction)
  ones = jnp.ones(len(image))
  return {name: (value, ones) for name, value in values.items()}


def add_psnr(means: Mapping[str, float]) -> dict[str, float]:
  """Adds `psnr`, that of the mean squared error over the data set."""
  psnr = float(metrics.psnr_from_mse(np.float64(means['mse'])))
  return {'mse': means['mse'], 'psnr': psnr, **means}


def get_decoder_bits(
  autoencoder: nn.Module, image: jax.Array, log_p: jax.Array
) -> jax.Array:
  """Returns -log2 p(image | codes) per pixel and channel: [B]."""
  return losses.bits_per_dim(
    log_p, math.prod(image.shape[1:]), autoencoder.likelihood.bins
  )
