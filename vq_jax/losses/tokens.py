"""Losses over tokens, and weighted means of them."""

import functools

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
  return _cross_entropy(logits, targets, label_smoothing)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _cross_entropy(logits, targets, label_smoothing):
  return _cross_entropy_forward(logits, targets, label_smoothing)[0]


def _cross_entropy_forward(logits, targets, label_smoothing):
  """Returns the cross-entropy, and what the backward pass needs."""
  x = logits.astype(jnp.float32)
  normalizer = jax.nn.logsumexp(x, axis=-1)
  picked = jnp.take_along_axis(x, targets[..., None], axis=-1)[..., 0]
  value = normalizer - (1 - label_smoothing) * picked
  if label_smoothing:
    value -= label_smoothing * x.mean(axis=-1)
  return value, (logits, targets, normalizer)


def _cross_entropy_backward(label_smoothing, residuals, gradient):
  """Returns the gradient of the logits, which is computed in one pass.

  Automatic differentiation writes the probabilities, zeros, and the targets
  into them, which are three arrays of the size of the logits.
  """
  logits, targets, normalizer = residuals
  size = logits.shape[-1]
  p = jnp.exp(logits.astype(jnp.float32) - normalizer[..., None])
  is_target = targets[..., None] == jnp.arange(size).reshape(
    (1,) * targets.ndim + (size,)
  )
  target = jnp.where(is_target, 1 - label_smoothing, 0.0)
  change = p - target - label_smoothing / size
  return (gradient[..., None] * change).astype(logits.dtype), None


_cross_entropy.defvjp(_cross_entropy_forward, _cross_entropy_backward)


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
