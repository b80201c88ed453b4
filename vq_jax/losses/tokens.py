"""Losses over tokens, elementwise: the caller weighs and averages them."""

import jax
import jax.numpy as jnp

from vq_jax.utils import replicas


def cross_entropy(
  logits: jax.Array, targets: jax.Array, label_smoothing: float = 0.0
) -> jax.Array:
  """Returns -(1-s) log p(target) - s mean_k log p(k), in float32.

  Args:
    logits: float [..., K].
    targets: int32 [...].
    label_smoothing: s.

  Returns:
    float32 [...], in nats.
  """
  log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
  picked = jnp.take_along_axis(log_p, targets[..., None], axis=-1)[..., 0]
  if not label_smoothing:
    return -picked
  return -(1 - label_smoothing) * picked - label_smoothing * log_p.mean(-1)


def weighted_mean(
  values: jax.Array, weights: jax.Array, axis_name: str | None = None
) -> jax.Array:
  """Returns sum(w v) / sum(w), the divisor summed over all replicas.

  Under pmap each replica returns its share times the number of replicas, so
  that the mean over the replicas (of values and of gradients) is the mean over
  the whole batch, however unevenly the weights fall.
  """
  weights = weights.astype(jnp.float32)
  divisor = replicas.pmean(weights.sum(), axis_name)
  return jnp.sum(values * weights) / jnp.maximum(divisor, 1e-9)


def mean_of_examples(values: jax.Array, weights: jax.Array) -> jax.Array:
  """Returns the mean over examples of sum(w v) / sum(w), [].

  Each example counts alike, whatever its weights sum to.

  Args:
    values: float [B, N].
    weights: float [B, N]; an example without weight counts as 0.
  """
  weights = weights.astype(jnp.float32)
  divisor = jnp.maximum(weights.sum(axis=-1), 1e-9)
  return jnp.mean(jnp.sum(values * weights, axis=-1) / divisor)
