"""Distances between an image and its reconstruction, one number per image."""

import jax
import jax.numpy as jnp


def check_shapes(image: jax.Array, reconstruction: jax.Array) -> None:
  """Raises ValueError unless two images have one shape: nothing broadcasts."""
  if image.shape != reconstruction.shape:
    raise ValueError(
      'an image and its reconstruction must have one shape; got '
      f'{image.shape} and {reconstruction.shape}.'
    )


def l1(image: jax.Array, reconstruction: jax.Array) -> jax.Array:
  """Mean absolute error: [B, H, W, C] twice -> [B]."""
  check_shapes(image, reconstruction)
  return jnp.mean(jnp.abs(image - reconstruction), axis=(1, 2, 3))


def l2(image: jax.Array, reconstruction: jax.Array) -> jax.Array:
  """Mean squared error: [B, H, W, C] twice -> [B]."""
  check_shapes(image, reconstruction)
  return jnp.mean(jnp.square(image - reconstruction), axis=(1, 2, 3))
