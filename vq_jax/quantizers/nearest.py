"""Search for the nearest code."""

import jax
import jax.numpy as jnp

# Vectors of a smaller norm are treated as zero.


def squared_distances(z: jax.Array, codebook: jax.Array) -> jax.Array:
  """Returns |z - e|^2 = |z|^2 - 2 z . e + |e|^2 in float32.

  The product has the highest precision, because the default on a TPU rounds
  its factors to bfloat16, which changes the choice between near neighbours.

  Args:
    z: float [..., D].
    codebook: float [K, D].

  Returns:
    float32 [..., K]. Rounding may make a distance of 0 slightly negative.
  """
  z = z.astype(jnp.float32)
  codebook = codebook.astype(jnp.float32)
  dot = jnp.einsum(
    '...d,kd->...k', z, codebook, precision=jax.lax.Precision.HIGHEST
  )
  z_sq = jnp.sum(jnp.square(z), axis=-1, keepdims=True)
  e_sq = jnp.sum(jnp.square(codebook), axis=-1)
  return z_sq - 2 * dot + jnp.expand_dims(e_sq, range(z.ndim - 1))


def nearest(z: jax.Array, codebook: jax.Array) -> jax.Array:
  """Returns the index of the nearest code, the lowest one of several.

  Args:
    z: float [..., D].
    codebook: float [K, D].

  Returns:
    int32 [...].
  """
  distances = squared_distances(z, codebook)
  return jnp.argmin(distances, axis=-1).astype(jnp.int32)
