"""What training hides or disturbs: tokens, and now and then the label.

Randomness comes as one key per example, so that a batch is treated alike
however it is spread over devices.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from vq_jax.priors import vocab as vocab_lib


def random_mask(
  keys: jax.Array,
  num_tokens: int,
  schedule: Callable[[jax.Array, int], jax.Array],
  min_ratio: float = 0.0,
  *,
  batch_key: jax.Array | None = None,
  independent: bool = False,
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
    batch_key: if given, r is drawn from it, the same for all examples.
    independent: hide each token by itself with probability gamma(r), and at
      least one, rather than an exact number.

  Returns:
    bool [B, N], True where hidden.
  """

  def one(key):
    ratio_key, order_key = jax.random.split(key)
    if batch_key is not None:
      ratio_key = batch_key
    ratio = schedule(jax.random.uniform(ratio_key), num_tokens)
    ratio = jnp.maximum(ratio, min_ratio)
    if independent:
      draws = jax.random.uniform(order_key, (num_tokens,))
      return (draws < ratio) | (draws == draws.min())
    hidden = jnp.maximum(jnp.ceil(ratio * num_tokens), 1)
    return jax.random.permutation(order_key, num_tokens) < hidden

  return jax.vmap(one)(keys)


def random_codes(
  keys: jax.Array, tokens: jax.Array, rate: float, codebook_size: int
) -> jax.Array:
  """Replaces tokens by random codes at `rate`.

  Args:
    keys: [B] keys, one per example.
    tokens: int32 [B, N].
    rate: probability that a token is drawn anew, from all codes alike.
    codebook_size: K.
  """

  def one(key, row):
    which_key, code_key = jax.random.split(key)
    which = jax.random.bernoulli(which_key, rate, row.shape)
    drawn = jax.random.randint(code_key, row.shape, 0, codebook_size)
    return jnp.where(which, drawn.astype(row.dtype), row)

  return jax.vmap(one)(keys, tokens)


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


def training_labels(
  vocab: vocab_lib.Vocab, label: jax.Array, keys: jax.Array, drop_rate: float
) -> jax.Array | None:
  """Returns the labels that a prior is trained with.

  Args:
    vocab: of the prior.
    label: int32 [B], of the data.
    keys: [B] keys, one per example.
    drop_rate: how often a label is hidden, where there is a null class.

  Returns:
    int32 [B], or None for a prior without classes.
  """
  if not vocab.num_classes:
    return None
  if not vocab.null_class:
    return label
  return drop_labels(keys, label, drop_rate, vocab.null_label)
