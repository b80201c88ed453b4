"""The search that every codebook shares: which code is nearest?"""

import jax
import jax.numpy as jnp

# A vector shorter than this counts as zero, which has no direction.
_SMALLEST_NORM = 1e-12


def squared_distances(z: jax.Array, codebook: jax.Array) -> jax.Array:
  """Returns |z - e|^2 by its expansion, in float32.

  Half precision would corrupt the choice between near neighbours, so the
  product asks for the highest precision: on a TPU the default would round
  both factors to bfloat16.

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
  """Returns the index of the nearest code, the lowest one on a tie.

  Args:
    z: float [..., D].
    codebook: float [K, D].

  Returns:
    int32 [...].
  """
  distances = squared_distances(z, codebook)
  return jnp.argmin(distances, axis=-1).astype(jnp.int32)


def l2_normalize(x: jax.Array) -> jax.Array:
  """Returns x / |x|; a zero vector stays zero, with zero gradient.

  Args:
    x: float32 [..., D].
  """
  square = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
  some = square > _SMALLEST_NORM**2
  return jnp.where(some, x / jnp.sqrt(jnp.where(some, square, 1.0)), 0.0)
