"""Sampling one token from its logits."""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from vq_jax.samplers import keys as key_lib
from vq_jax.utils import fields
from vq_jax.utils.argmax import argmax

Temperature = Annotated[float, fields.Range(least=0, most=1e6)]
Nucleus = Annotated[float, fields.Range(above=0, most=1)]

INVALID = -1  # the token where the logits are not a distribution
_ABOVE_ONE = 0x3F800001  # the bits of the float32 after 1
_SMALLEST = float(np.finfo(np.float32).tiny)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenChoice:
  """Samples tokens from logits with a temperature, top-k and top-p.

  `top_k` is applied before `top_p`. At least one token always remains.

  Attributes:
    temperature: divides the logits; 0 chooses the most likely token, which is
      also the limit of small temperatures.
    top_k: only the k most likely tokens are sampled, all if there are fewer; of
      equally likely tokens the lowest are kept. None is no limit.
    top_p: in (0, 1]; only the smallest set of most likely tokens that together
      has this probability, and tokens as likely as its last, are sampled
      (nucleus sampling, https://arxiv.org/abs/1904.09751). None is no limit.

  Example:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from vq_jax import samplers
    >>> choice = samplers.TokenChoice(temperature=0.0)
    >>> keys = jax.random.split(jax.random.key(0), 2)
    >>> choice(keys, jnp.array([[0.0, 2.0, 1.0], [3.0, 0.0, 0.0]]))
    Array([1, 0], dtype=int32)
  """

  temperature: Temperature = 1.0
  top_k: fields.PositiveInt | None = None
  top_p: Nucleus | None = None

  def __post_init__(self):
    fields.check(self)

  def __call__(self, keys: jax.Array, logits: jax.Array) -> jax.Array:
    """Samples one token from each distribution.

    Args:
      keys: [B], one per example.
      logits: float [B, ..., K].

    Returns:
      int32 [B, ...]; `INVALID` where the logits are not a distribution: one of
      them is NaN or +infinity, or all are -infinity.
    """
    # A sum over many tokens needs float32, whatever the dtype of the logits.
    # The barrier keeps XLA from computing the logits twice: the largest one is
    # found below by comparison for equality.
    logits = jax.lax.optimization_barrier(logits.astype(jnp.float32))
    most = jnp.max(logits, axis=-1, keepdims=True)
    valid = jnp.isfinite(most[..., 0])
    # A smaller temperature is 0 in float32.
    if self.temperature < _SMALLEST:
      likeliest = argmax(logits)
      return jnp.where(valid, likeliest, INVALID)
    ids = None
    if self.top_k is not None:
      logits, ids = jax.lax.top_k(logits, min(self.top_k, logits.shape[-1]))
    # Differences of logits are divided, not the logits: these would lose their
    # precision when divided by a small temperature.
    below = jnp.minimum(logits - most, 0) / self.temperature
    weights = jnp.where(logits >= most, 1, jnp.exp(below))
    if self.top_p is not None:
      p = weights / jnp.sum(weights, axis=-1, keepdims=True)
      # A top_p that is 0 in float32 would keep no token.
      likely = _nucleus(p, max(self.top_p, _SMALLEST))
      weights = jnp.where(likely, weights, 0)
    sampled, total = _sample(keys, weights)
    if ids is not None:
      sampled = jnp.take_along_axis(ids, sampled[..., None], axis=-1)[..., 0]
    # The most likely token has weight 1, so a smaller sum is NaN.
    return jnp.where(valid & (total >= 1), sampled, INVALID)


def require_valid(tokens: jax.Array | np.ndarray) -> None:
  """Checks sampled tokens on the host.

  Args:
    tokens: int32 [...].

  Raises:
    ValueError: if one is `INVALID`.
  """
  if np.any(np.asarray(tokens) == INVALID):
    raise ValueError(
      'the logits of the prior are NaN or infinite, so no token can be '
      'sampled. Its weights are damaged, or its training diverged, or the '
      'guidance is too large for its dtype.'
    )


def _sample(keys: jax.Array, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Samples in proportion to weights [B, ..., K].

  Returns:
    ids int32 [B, ...], and the sum of the weights, float32 [B, ...].
  """
  # Inverse transform sampling needs one random number per token; Gumbel noise
  # for every logit would take a CPU as long as a small model.
  total = jnp.cumsum(weights, axis=-1)
  quantile = key_lib.sample(jax.random.uniform, keys, (*weights.shape[1:-1], 1))
  below = total <= quantile * total[..., -1:]
  return jnp.sum(below, axis=-1, dtype=jnp.int32), total[..., -1]


def _nucleus(p: jax.Array, top_p: float) -> jax.Array:
  """Returns which of the probabilities p [..., K] are in the nucleus.

  Bisects for the largest threshold such that the tokens at least as likely have
  the probability `top_p` together; on a CPU a sort takes more than ten times as
  long. Floats in [0, 1] have the order of their bits, so the search is exact.
  """

  def halve(_, bounds):
    low, high = bounds
    middle = low + (high - low) // 2
    likely = p >= jax.lax.bitcast_convert_type(middle, jnp.float32)
    mass = jnp.sum(jnp.where(likely, p, 0), axis=-1, keepdims=True)
    enough = mass >= top_p
    return jnp.where(enough, middle, low), jnp.where(enough, high, middle)

  low = jnp.zeros((*p.shape[:-1], 1), jnp.int32)
  high = jnp.full_like(low, _ABOVE_ONE)
  low, _ = jax.lax.fori_loop(0, _ABOVE_ONE.bit_length(), halve, (low, high))
  return p >= jax.lax.bitcast_convert_type(low, jnp.float32)


def log_p(logits: jax.Array, sampled: jax.Array) -> jax.Array:
  """Returns the log-probability of the sampled tokens: float32 [B, N]."""
  found = jax.nn.log_softmax(logits)
  return jnp.take_along_axis(found, sampled[..., None], axis=-1)[..., 0]
