"""Losses of guided images: to prompts, to a first image, and of noise."""

import jax
import jax.numpy as jnp


def spherical_distance(a: jax.Array, b: jax.Array) -> jax.Array:
  """Returns 2 arcsin(|a - b| / 2)^2, half the squared angle between vectors.

  This is the distance of VQGAN+CLIP (https://arxiv.org/abs/2204.08583, 3.2).
  Its gradient is finite everywhere, with 0 for equal vectors.

  Args:
    a: float [..., D], of length 1.
    b: float [..., D], of length 1.

  Returns:
    float32 [...], in [0, pi^2 / 2].
  """
  square = jnp.square(a - b).sum(axis=-1)
  inside = (square > 0) & (square < 4)
  # Both derivatives are infinite at the ends of the range.
  safe = jnp.where(inside, square, 1.0)
  angle = jnp.where(
    inside, jnp.arcsin(jnp.sqrt(safe) / 2), jnp.where(square > 0, jnp.pi / 2, 0)
  )
  return 2 * jnp.square(angle)


def prompt_losses(
  embedding: jax.Array, target: jax.Array, weight: jax.Array, stop: jax.Array
) -> jax.Array:
  """Returns the loss of each cutout and prompt.

    loss[n, p] = |w_p| max(sign(w_p) d(e_n, t_p), stop_p)

  The maximum acts on the gradient alone: a cutout that has come below the stop
  adds its distance to the loss, but no gradient.

  Args:
    embedding: float [N, D], those of the cutouts, of length 1.
    target: float [P, D], those of the prompts, of length 1.
    weight: float [P]; 0 turns a prompt off.
    stop: float [P].

  Returns:
    float32 [N, P].
  """
  distance = spherical_distance(embedding[:, None], target[None])
  signed = jnp.sign(weight)[None] * distance
  held = jax.lax.stop_gradient(signed)
  signed = jnp.where(signed > stop[None], signed, held)
  return jnp.abs(weight)[None] * signed


def total_variation(image: jax.Array) -> jax.Array:
  """Returns the mean squared difference of neighbouring pixels, float32 [B].

  Args:
    image: float [B, H, W, C]; an image of one row or column has no difference
      in that direction.
  """

  def mean_square(difference):
    size = max(difference[0].size, 1)
    return jnp.square(difference).sum(axis=(1, 2, 3)) / size

  return mean_square(jnp.diff(image, axis=1)) + mean_square(
    jnp.diff(image, axis=2)
  )


@jax.custom_vjp
def clip_with_gradient(image: jax.Array) -> jax.Array:
  """Clips pixels to [0, 1]; gradients that lead back into the range pass.

  A plain clip has no gradient outside of the range, so that a pixel could never
  return. Here a descent direction passes if it moves the pixel inwards.

  Args:
    image: float [...].
  """
  return jnp.clip(image, 0, 1)


def _clip_forward(image: jax.Array) -> tuple[jax.Array, jax.Array]:
  return jnp.clip(image, 0, 1), image


def _clip_backward(image: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
  excess = image - jnp.clip(image, 0, 1)
  return (jnp.where(gradient * excess >= 0, gradient, 0),)


clip_with_gradient.defvjp(_clip_forward, _clip_backward)
