"""Losses over tokens, and weighted means of them."""

import jax
import jax.numpy as jnp

from vq_jax.utils import replicas


def cross_entropy(
  logits: jax.Array, targets: jax.Array, label_smoothing: float = 0.0
) -> jax.Array:
  """Returns the cross-entropy with label smoothing s.

    -(1 - s) log p(target) - s mean_k log p(k)

  Args:
    logits: float [..., K].
    targets: int32 [...].
    label_smoothing: s, in [0, 1].

  Returns:
    float32 [...], in nats.

  Example:
    >>> import jax.numpy as jnp
    >>> from vq_jax import losses
    >>> logits = jnp.array([[0.0, 0.0], [-9.0, 9.0]])
    >>> losses.cross_entropy(logits, jnp.array([0, 0])).astype(int).tolist()
    [0, 18]
  """
  log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
  picked = jnp.take_along_axis(log_p, targets[..., None], axis=-1)[..., 0]
  if not label_smoothing:
    return -picked
  return -(1 - label_smoothing) * picked - label_smoothing * log_p.mean(-1)


def weighted_mean(
  values: jax.Array, weights: jax.Array, axis_name: str | None = None
) -> jax.Array:
  """Returns the weighted mean over all elements, sum(w v) / sum(w).

  Under pmap, sum(w) is averaged over the replicas, so that the mean of the
  results over the replicas is the weighted mean over the whole batch.

  Args:
    values: float [...].
    weights: float [...], at least 0.
    axis_name: axis of the replicas, under pmap.

  Returns:
    float32 [].
  """
  weights = weights.astype(jnp.float32)
  divisor = replicas.pmean(weights.sum(), axis_name)
  return jnp.sum(values * weights) / jnp.maximum(divisor, 1e-9)


def mean_of_examples(values: jax.Array, weights: jax.Array) -> jax.Array:
  """Returns the mean over examples of each example's weighted mean.

  Args:
    values: float [B, N].
    weights: float [B, N], at least 0; the mean of an example whose weights are
      all 0 is 0.

  Returns:
    float32 [].
  """
  weights = weights.astype(jnp.float32)
  divisor = jnp.maximum(weights.sum(axis=-1), 1e-9)
  return jnp.mean(jnp.sum(values * weights, axis=-1) / divisor)
