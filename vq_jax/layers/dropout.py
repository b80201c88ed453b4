"""Dropout that needs half the random numbers of `flax.linen.Dropout`."""

import flax.linen as nn
import jax
import jax.numpy as jnp

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
  *rest, length = shape
  bits = jax.random.bits(key, (*rest, -(-length // 2)), jnp.uint32)
  limit = round(keep_prob * _LEVELS)
  keep = jnp.concatenate(
    [bits & (_LEVELS - 1) < limit, bits >> 16 < limit], axis=-1
  )
  return keep[..., :length]


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
