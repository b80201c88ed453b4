"""Gradient estimators: how the gradient of a code passes to its latent.

Each function returns the codes bit by bit; they differ in the derivative.
"""

import jax
import jax.numpy as jnp

# Vectors of a smaller norm have no direction to rotate from or to.
_SMALLEST_NORM = 1e-6
# Unit vectors with a shorter sum are treated as opposite.
_SMALLEST_SUM = 1e-3


def with_gradient_of(values: jax.Array, surrogate: jax.Array) -> jax.Array:
  """Returns `values` bit by bit, with the derivative of `surrogate`."""
  stop = jax.lax.stop_gradient
  return stop(values) + (surrogate - stop(surrogate))


def straight_through(z: jax.Array, codes: jax.Array) -> jax.Array:
  """Copies the gradient of the codes to the latents.

  https://arxiv.org/abs/1711.00937, 3.2.

  Args:
    z: float32 [..., D].
    codes: float32 [..., D].

  Returns:
    `codes`; the derivative with respect to `z` is the identity.
  """
  return with_gradient_of(codes, z)


def rotation(z: jax.Array, codes: jax.Array) -> jax.Array:
  """The rotation trick (https://arxiv.org/abs/2410.06424, 4).

  The code is written as e = |e| / |z| R z, where R is the rotation, in the
  plane of z and e, from the direction of z to that of e. The gradient treats
  R and the scale as constants. If z or e is (nearly) zero it has no direction,
  and the gradient is copied as in `straight_through`.

  Args:
    z: float32 [..., D].
    codes: float32 [..., D], e.

  Returns:
    `codes`; the derivative with respect to `z` is |e| / |z| R.
  """
  stop = jax.lax.stop_gradient
  z_norm = jnp.linalg.norm(stop(z), axis=-1, keepdims=True)
  e_norm = jnp.linalg.norm(stop(codes), axis=-1, keepdims=True)
  usable = jnp.minimum(z_norm, e_norm) > _SMALLEST_NORM
  source = stop(z) / jnp.where(usable, z_norm, 1.0)
  target = stop(codes) / jnp.where(usable, e_norm, 1.0)
  middle = source + target
  # The sum of opposite vectors is rounding error alone. Without it the map is a
  # reflection, which also takes `source` to `target`.
  length = jnp.linalg.norm(middle, axis=-1, keepdims=True)
  valid = length > _SMALLEST_SUM
  middle = jnp.where(valid, middle / jnp.where(valid, length, 1.0), 0.0)

  def component(direction):
    return jnp.sum(z * direction, axis=-1, keepdims=True)

  rotated = z - 2 * component(middle) * middle + 2 * component(source) * target
  scale = e_norm / jnp.where(usable, z_norm, 1.0)
  return with_gradient_of(codes, jnp.where(usable, scale * rotated, z))


ESTIMATORS = {'straight_through': straight_through, 'rotation': rotation}


def estimate(name: str, z: jax.Array, codes: jax.Array) -> jax.Array:
  """Applies the estimator of that name, a key of `ESTIMATORS`."""
  return ESTIMATORS[name](z, codes)


def soft_choice(codes: jax.Array, gradient: jax.Array) -> jax.Array:
  """Returns the chosen codes with the gradient of a weighted mean of all codes.

  With p = softmax(logits), the derivative is that of
  (one_hot(indices) + p - sg[p]) @ codebook: the logits receive the gradient of
  a weighted mean, and of the codebook only the chosen codes receive one.

  Args:
    codes: float32 [..., D], `codebook[indices]`.
    gradient: float32 [..., D], `weighted_mean_gradient(logits, codebook)`.

  Returns:
    `codes`.
  """
  return with_gradient_of(codes, codes + gradient)


@jax.custom_vjp
def weighted_mean_gradient(logits: jax.Array, codebook: jax.Array) -> jax.Array:
  """Returns zeros with the gradient of softmax(logits) @ sg[codebook].

  Without a derivative, nothing is computed.

  Args:
    logits: float32 [..., K].
    codebook: float32 [K, D].

  Returns:
    float32 [..., D].
  """
  return jnp.zeros((*logits.shape[:-1], codebook.shape[1]), codebook.dtype)


def _weighted_mean_backward(
  inputs: tuple[jax.Array, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, None]:
  logits, codebook = inputs
  p = jax.nn.softmax(logits)
  of_p = cotangent @ codebook.T
  return p * (of_p - jnp.sum(p * of_p, axis=-1, keepdims=True)), None


weighted_mean_gradient.defvjp(
  lambda *inputs: (weighted_mean_gradient(*inputs), inputs),
  _weighted_mean_backward,
)
