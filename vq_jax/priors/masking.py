"""Corruptions of tokens and labels in the training of priors.

Each example has its own random key, so that results do not depend on how a
batch is divided over devices.
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
  """Samples the masks of MaskGIT's training (Chang et al. 2022, section 3.1).

  For each example r ~ U(0, 1), and ceil(gamma(r) N) tokens, at least one, are
  masked; which ones is uniformly random.

  Args:
    keys: [B] keys, one per example.
    num_tokens: N.
    schedule: gamma, from `vq_jax.samplers.schedules`.
    min_ratio: the smallest fraction of masked tokens. FSQ (appendix A.4.2)
      found training more stable with 0.45.
    batch_key: if given, the key of r, which is then the same for all examples.
    independent: mask each token independently with probability gamma(r), and at
      least one, instead of an exact number.

  Returns:
    bool [B, N], True where masked.

  Example:
    >>> import jax
    >>> from vq_jax import priors
    >>> from vq_jax.samplers import schedules
    >>> keys = jax.random.split(jax.random.key(0), 2)
    >>> mask = priors.random_mask(keys, 16, schedules.cosine, min_ratio=1.0)
    >>> mask.sum(axis=1).tolist()
    [16, 16]
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
    num_masked = jnp.maximum(jnp.ceil(ratio * num_tokens), 1)
    return jax.random.permutation(order_key, num_tokens) < num_masked

  return jax.vmap(one)(keys)


def random_tokens(
  keys: jax.Array, tokens: jax.Array, rate: float, codebook_size: int
) -> jax.Array:
  """Replaces each token by a uniformly random one with a probability.

  Args:
    keys: [B] keys, one per example.
    tokens: int32 [B, N].
    rate: the probability of a replacement.
    codebook_size: K.

  Returns:
    int32 [B, N].
  """

  def one(key, row):
    replace_key, token_key = jax.random.split(key)
    replace = jax.random.bernoulli(replace_key, rate, row.shape)
    random = jax.random.randint(token_key, row.shape, 0, codebook_size)
    return jnp.where(replace, random.astype(row.dtype), row)

  return jax.vmap(one)(keys, tokens)


def drop_labels(
  keys: jax.Array, label: jax.Array, rate: float, null_label: int
) -> jax.Array:
  """Replaces each label by the null label with a probability.

  This trains a prior for classifier-free guidance
  (https://arxiv.org/abs/2207.12598).

  Args:
    keys: [B] keys, one per example.
    label: int32 [B].
    rate: the probability of a replacement.
    null_label: `Vocab.null_label`.

  Returns:
    int32 [B].
  """
  drop = jax.vmap(lambda key: jax.random.bernoulli(key, rate))(keys)
  return jnp.where(drop, null_label, label)


def training_labels(
  vocab: vocab_lib.Vocab, label: jax.Array, keys: jax.Array, drop_rate: float
) -> jax.Array | None:
  """Returns the labels for a training step of a prior.

  Args:
    vocab: the vocabulary of the prior.
    label: int32 [B], the labels of the data.
    keys: [B] keys, one per example.
    drop_rate: the rate of `drop_labels`; not used without a null class.

  Returns:
    int32 [B], or None for a prior without classes.
  """
  if not vocab.num_classes:
    return None
  if not vocab.null_class:
    return label
  return drop_labels(keys, label, drop_rate, vocab.null_label)
