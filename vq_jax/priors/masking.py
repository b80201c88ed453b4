"""What MaskGIT's training hides: tokens, and now and then the label.

Randomness comes as one key per example, so that a batch is masked alike
however it is spread over devices.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp


def random_mask(
  keys: jax.Array,
  num_tokens: int,
  schedule: Callable[[jax.Array, int], jax.Array],
  min_ratio: float = 0.0,
) -> jax.Array:
  """Draws which tokens to hide (MaskGIT, section 3.1).

  For each example r ~ U(0, 1), and ceil(gamma(r) N) tokens, at least one, are
  hidden, uniformly at random.

  Args:
    keys: [B] keys, one per example.
    num_tokens: N.
    schedule: gamma, from `vq_jax.samplers.schedules`.
    min_ratio: no fewer than this fraction is hidden (FSQ, appendix A.4.2,
      found training more stable with 0.45).

  Returns:
    bool [B, N], True where hidden.
  """

  def one(key):
    ratio_key, order_key = jax.random.split(key)
    ratio = schedule(jax.random.uniform(ratio_key), num_tokens)
    ratio = jnp.maximum(ratio, min_ratio)
    hidden = jnp.maximum(jnp.ceil(ratio * num_tokens), 1)
    return jax.random.permutation(order_key, num_tokens) < hidden

  return jax.vmap(one)(keys)


def drop_labels(
  keys: jax.Array, label: jax.Array, rate: float, null_label: int
) -> jax.Array:
  """Replaces labels by the null label at `rate`, for guidance.

  Args:
    keys: [B] keys, one per example.
    label: int32 [B].
    rate: probability.
    null_label: `Vocab.null_label`.
  """
  drop = jax.vmap(lambda key: jax.random.bernoulli(key, rate))(keys)
  return jnp.where(drop, null_label, label)
