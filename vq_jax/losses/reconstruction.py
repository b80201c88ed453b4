"""Pixel losses between images and reconstructions, one number per image."""

import jax
import jax.numpy as jnp


def check_shapes(image: jax.Array, reconstruction: jax.Array) -> None:
  """Raises ValueError unless both arguments have the same shape."""
  if image.shape != reconstruction.shape:
    raise ValueError(
      'image and reconstruction must have the same shape; got '
      f'{image.shape} and {reconstruction.shape}.'
    )


def l1(image: jax.Array, reconstruction: jax.Array) -> jax.Array:
  """Returns the mean absolute error [B] of two arrays [B, H, W, C]."""
  check_shapes(image, reconstruction)
  return jnp.mean(jnp.abs(image - reconstruction), axis=(1, 2, 3))


def l2(image: jax.Array, reconstruction: jax.Array) -> jax.Array:
  """Returns the mean squared error [B] of two arrays [B, H, W, C]."""
  check_shapes(image, reconstruction)
  return jnp.mean(jnp.square(image - reconstruction), axis=(1, 2, 3))
