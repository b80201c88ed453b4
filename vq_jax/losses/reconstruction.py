"""Distances between an image and its reconstruction, one number per image."""

import jax
import jax.numpy as jnp


def l1(image: jax.Array, reconstruction: jax.Array) -> jax.Array:
  """Mean absolute error: [B, H, W, C] twice -> [B]."""
  return jnp.mean(jnp.abs(image - reconstruction), axis=(1, 2, 3))


def l2(image: jax.Array, reconstruction: jax.Array) -> jax.Array:
  """Mean squared error: [B, H, W, C] twice -> [B]."""
  return jnp.mean(jnp.square(image - reconstruction), axis=(1, 2, 3))
