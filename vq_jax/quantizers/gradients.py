"""What the gradient of a code is to the latent that was quantized.

Each choice returns the codes to the bit; only the derivative differs.
"""

import jax
import jax.numpy as jnp

# Below this norm a vector has no direction to rotate from or to.
_SMALLEST_NORM = 1e-6
# Two unit vectors whose sum is shorter count as opposite.
_SMALLEST_MIDDLE = 1e-3


def with_gradient_of(values: jax.Array, through: jax.Array) -> jax.Array:
  """Returns `values` to the bit, with the derivative of `through`."""
  stop = jax.lax.stop_gradient
  return stop(values) + (through - stop(through))


def straight_through(z: jax.Array, codes: jax.Array) -> jax.Array:
  """Passes the gradient on as it is (van den Oord et al. 2017, 3.2).

  Args:
    z: float32 [..., D].
    codes: float32 [..., D].

  Returns:
    `codes`; the derivative by `z` is the identity.
  """
  return with_gradient_of(codes, z)


def rotation(z: jax.Array, codes: jax.Array) -> jax.Array:
  """Turns the gradient as the latent was turned (Fifty et al. 2024, 4).

  The code is written as |e| / |z| R z, where R is the rotation in the plane of
  both that takes the direction of z to that of e; the factor and R count as
  constants. Where either vector is (nearly) zero it has no direction, and the
  gradient passes straight through.

  Args:
    z: float32 [..., D].
    codes: float32 [..., D], e.

  Returns:
    `codes`; the derivative by `z` is |e| / |z| R.
  """
  stop = jax.lax.stop_gradient
  z_norm = jnp.linalg.norm(stop(z), axis=-1, keepdims=True)
  e_norm = jnp.linalg.norm(stop(codes), axis=-1, keepdims=True)
  usable = jnp.minimum(z_norm, e_norm) > _SMALLEST_NORM
  start = stop(z) / jnp.where(usable, z_norm, 1.0)
  end = stop(codes) / jnp.where(usable, e_norm, 1.0)
  middle = start + end
  # Of opposite vectors the middle is nothing but rounding. Without it a
  # reflection is left, which still takes the one to the other.
  length = jnp.linalg.norm(middle, axis=-1, keepdims=True)
  apart = length > _SMALLEST_MIDDLE
  middle = jnp.where(apart, middle / jnp.where(apart, length, 1.0), 0.0)

  def along(direction):
    return jnp.sum(z * direction, axis=-1, keepdims=True)

  rotated = z - 2 * along(middle) * middle + 2 * along(start) * end
  scale = e_norm / jnp.where(usable, z_norm, 1.0)
  return with_gradient_of(codes, jnp.where(usable, scale * rotated, z))


CHOICES = {'straight_through': straight_through, 'rotation': rotation}


def estimate(name: str, z: jax.Array, codes: jax.Array) -> jax.Array:
  """Applies the choice of that name.

  Raises:
    ValueError: if there is none.
  """
  if name not in CHOICES:
    raise ValueError(
      f'gradient_estimator must be one of {", ".join(CHOICES)}; got {name!r}.'
    )
  return CHOICES[name](z, codes)
