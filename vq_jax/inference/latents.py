"""The continuous latents of an AE or VAE."""

import functools
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vq_jax import autoencoders
from vq_jax.inference.types import Array
from vq_jax.utils import compilation
from vq_jax.utils import fields


def require_latents(autoencoder: nn.Module) -> None:
  """Raises ValueError unless an autoencoder is an AE or a VAE."""
  if not isinstance(autoencoder, autoencoders.AE | autoencoders.VAE):
    raise ValueError(
      'continuous latents need an AE or a VAE; this run has a '
      f'{type(autoencoder).__name__}.'
    )


def latent_shape(
  autoencoder: nn.Module, image_shape: Sequence[int]
) -> tuple[int, ...]:
  """Returns the shape of the latent of an image, (D,) or (h, w, D).

  Args:
    autoencoder: an AE or VAE.
    image_shape: (H, W, C).
  """
  require_latents(autoencoder)
  if autoencoder.grid is not None:
    return (autoencoder.latent_dim,)
  height, width, _ = image_shape
  stride = autoencoder.stride
  return (height // stride, width // stride, autoencoder.latent_dim)


@fields.checked
def encode(
  autoencoder: nn.Module,
  variables: Mapping[str, Any],
  images: Array,
  *,
  batch_size: fields.PositiveInt = 200,
) -> np.ndarray:
  """Encodes images to latents; those of a VAE are the means.

  Args:
    autoencoder: an AE or VAE.
    variables: its variables.
    images: [B, H, W, C], uint8 in [0, 255] or float in [0, 1].
    batch_size: the number of images in a batch.

  Returns:
    float32 [B, D] or [B, h, w, D].

  Raises:
    ValueError: if the autoencoder is neither an AE nor a VAE.
  """
  require_latents(autoencoder)
  apply = functools.partial(_encode, autoencoder, variables)
  return _in_batches(apply, images, batch_size)


@fields.checked
def decode(
  autoencoder: nn.Module,
  variables: Mapping[str, Any],
  z: Array,
  image_shape: Sequence[int],
  *,
  batch_size: fields.PositiveInt = 200,
) -> np.ndarray:
  """Decodes latents to images.

  Args:
    autoencoder: an AE or VAE.
    variables: its variables.
    z: float [B, D] or [B, h, w, D].
    image_shape: (H, W, C) of the training images.
    batch_size: the number of latents in a batch.

  Returns:
    float32 [B, H, W, C] in [0, 1].

  Raises:
    ValueError: if the autoencoder is neither an AE nor a VAE, or the latents do
      not fit it.
  """
  shape = latent_shape(autoencoder, image_shape)
  z = check_latents(z)
  if z.ndim != 1 + len(shape) or z.shape[-1] != shape[-1]:
    raise ValueError(
      f'latents must be float [B, {", ".join(map(str, shape))}]; got {z.shape}.'
    )
  apply = functools.partial(_decode, autoencoder, variables)
  return _in_batches(apply, z, batch_size)


def interpolate(first: Array, last: Array, steps: int) -> np.ndarray:
  """Returns points on the straight line between two latents.

  Args:
    first: float [...].
    last: float [...] of the same shape.
    steps: the number of points, with both ends among them.

  Returns:
    float32 [steps, ...].
  """
  fraction = np.linspace(0, 1, steps, dtype=np.float32)
  fraction = fraction.reshape(-1, *(1,) * np.ndim(first))
  return (1 - fraction) * first[None] + fraction * last[None]


def check_latents(z: Array) -> np.ndarray:
  """Checks that latents are finite numbers [B, ...], and returns them."""
  try:
    found = np.asarray(z)
  except ValueError:  # a ragged list
    found = np.empty(0, object)
  if found.ndim < 2 or found.dtype.kind not in 'fiu' or not found.size:
    raise ValueError(
      f'latents must be float [B, ...], one row for each image; got '
      f'{found.dtype} {found.shape}.'
    )
  if not np.isfinite(found).all():
    raise ValueError(
      'latents must be finite; some are NaN or infinite. If an encoder made '
      'them, its weights are damaged or its training diverged.'
    )
  return found


@functools.partial(compilation.jit, static_argnums=0)
def _encode(autoencoder, variables, images):
  return autoencoder.apply(variables, images, method='latents')


@functools.partial(compilation.jit, static_argnums=0)
def _decode(autoencoder, variables, z):
  return jnp.clip(autoencoder.apply(variables, z, method='decode'), 0, 1)


def _in_batches(
  apply: Callable[[jax.Array], jax.Array], rows: Array, size: int
) -> np.ndarray:
  """Applies a function to `size` rows at a time; the last batch is smaller."""
  parts = [
    np.asarray(apply(jnp.asarray(rows[i : i + size])))
    for i in range(0, len(rows), size)
  ]
  return np.concatenate(parts)
