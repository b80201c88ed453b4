"""Dropout with a quarter of the random numbers of `flax.linen.Dropout`."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.extend.random import threefry2x32_p

_LEVELS = 1 << 16


def keep_mask(
  key: jax.Array, keep_prob: float, shape: tuple[int, ...]
) -> jax.Array:
  """Returns which elements dropout keeps, at random.

  Each 32-bit random number decides about two elements, with 16 bits for each.

  Args:
    key: JAX key.
    keep_prob: the probability of True, rounded to a multiple of 2^-16.
    shape: the shape of the mask, with at least one axis.

  Returns:
    bool of that shape.

  Example:
    >>> import jax
    >>> from vq_jax.layers import dropout
    >>> keep = dropout.keep_mask(jax.random.key(0), 0.75, (100, 101))
    >>> float(keep.mean().round(2))
    0.75
  """
  if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
    key = jax.random.wrap_key_data(key)
  limit = round(keep_prob * _LEVELS)
  *rest, length = shape
  words, axis = _random_words(key, (*rest, -(-length // 2)))
  keep = jnp.concatenate(
    [
      jnp.concatenate([x & (_LEVELS - 1) < limit, x >> 16 < limit], axis=-1)
      for x in words
    ],
    axis,
  )
  return keep[tuple(map(slice, shape))]


def _random_words(
  key: jax.Array, shape: tuple[int, ...]
) -> tuple[list[jax.Array], int]:
  """Returns uint32 arrays of random numbers, and an axis to join them along.

  Joined, they have at least the given shape. Threefry computes two numbers at a
  time, of which `jax.random.bits` returns the exclusive or; here both are used.
  As there, a number is a function of its position, so that each device computes
  its part alone.
  """
  # The axis before the last one: devices may split the first axis, and the last
  # one lies along the lanes of vector registers.
  axis = len(shape) - 2 if len(shape) > 2 else len(shape) - 1
  if str(jax.random.key_impl(key)) != 'threefry2x32':
    return [jax.random.bits(key, shape, jnp.uint32)], axis
  half = (*shape[:axis], -(-shape[axis] // 2), *shape[axis + 1 :])
  # The barrier hides from XLA that all masks of a network count from 0. On a
  # TPU it would compute those of several layers at once, and keep them.
  words, zero = jax.lax.optimization_barrier(
    (jax.random.key_data(key), jnp.uint32(0))
  )
  row = zero + jax.lax.broadcasted_iota(jnp.uint32, half, 0)
  position = row
  for i, length in enumerate(half[1:], 1):
    position = position * length + jax.lax.broadcasted_iota(jnp.uint32, half, i)
  return threefry2x32_p.bind(*words, row, position), axis


class Dropout(nn.Module):
  """Sets random elements to 0 and divides the others by 1 - rate.

  Attributes:
    rate: the probability with which an element becomes 0, in [0, 1].
    deterministic: whether the input is returned as it is; it can be given to
      the call instead.
  """

  rate: float
  deterministic: bool | None = None

  @nn.compact
  def __call__(
    self, x: jax.Array, deterministic: bool | None = None
  ) -> jax.Array:
    """Applies dropout, with random numbers of the stream 'dropout'."""
    deterministic = nn.merge_param(
      'deterministic', self.deterministic, deterministic
    )
    if deterministic or not self.rate:
      return x
    if self.rate == 1:
      return jnp.zeros_like(x)
    keep_prob = 1 - self.rate
    keep = keep_mask(self.make_rng('dropout'), keep_prob, x.shape)
    return jnp.where(keep, x / keep_prob, 0)
