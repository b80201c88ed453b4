"""Which token: one draw from the logits."""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from vq_jax.samplers import keys as key_lib
from vq_jax.utils import fields

Temperature = Annotated[float, fields.Range(least=0, most=1e6)]
Nucleus = Annotated[float, fields.Range(above=0, most=1)]

INVALID = -1  # in place of a token whose logits are no distribution
_ABOVE_ONE = 0x3F800001  # the bits of the float32 after 1
_SMALLEST = float(np.finfo(np.float32).tiny)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenChoice:
  """Draws ids from logits, from all of them or from the likely ones.

  With both limits, `top_p` acts on what `top_k` left. At least one id is left.

  Attributes:
    temperature: divides the logits; 0 takes the most likely id, and smaller
      and smaller temperatures tend to that.
    top_k: only the k most likely ids (of equal ones the lowest) are drawn; all
      if there are fewer. None is no limit.
    top_p: in (0, 1]; only the fewest ids that have this much probability
      together, and those as likely as the last of them, are drawn (nucleus
      sampling, Holtzman et al. 2020). None is no limit.
  """

  temperature: Temperature = 1.0
  top_k: fields.PositiveInt | None = None
  top_p: Nucleus | None = None

  def __post_init__(self):
    fields.check(self)

  def __call__(self, keys: jax.Array, logits: jax.Array) -> jax.Array:
    """Draws one id from each distribution.

    Args:
      keys: [B], one per example.
      logits: float [B, ..., K].

    Returns:
      int32 [B, ...]; `INVALID` where the logits are no distribution: one of
      them is NaN or +infinity, or all are -infinity.
    """
    # A sum over many ids needs float32, whatever the logits come in. They are
    # computed once: the largest is found below by comparing it with itself.
    logits = jax.lax.optimization_barrier(logits.astype(jnp.float32))
    most = jnp.max(logits, axis=-1, keepdims=True)
    valid = jnp.isfinite(most[..., 0])
    # In float32 a smaller temperature is 0.
    if self.temperature < _SMALLEST:
      likeliest = jnp.argmax(logits, axis=-1).astype(jnp.int32)
      return jnp.where(valid, likeliest, INVALID)
    ids = None
    if self.top_k is not None:
      logits, ids = jax.lax.top_k(logits, min(self.top_k, logits.shape[-1]))
    # Only differences are divided: logits that were divided by a small
    # temperature would be rounded by more than a probability can bear.
    below = jnp.minimum(logits - most, 0) / self.temperature
    weights = jnp.where(logits >= most, 1, jnp.exp(below))
    if self.top_p is not None:
      p = weights / jnp.sum(weights, axis=-1, keepdims=True)
      # What is 0 in float32 would be reached by no id at all.
      likely = _nucleus(p, max(self.top_p, _SMALLEST))
      weights = jnp.where(likely, weights, 0)
    drawn, total = _draw(keys, weights)
    if ids is not None:
      drawn = jnp.take_along_axis(ids, drawn[..., None], axis=-1)[..., 0]
    # The likeliest id alone weighs 1.
    return jnp.where(valid & (total >= 1), drawn, INVALID)


def require_valid(tokens: jax.Array | np.ndarray) -> None:
  """Checks drawn tokens on the host.

  Args:
    tokens: int32 [...].

  Raises:
    ValueError: if one is `INVALID`.
  """
  if np.any(np.asarray(tokens) == INVALID):
    raise ValueError(
      'the prior gave logits that are NaN or infinite, so no token can be '
      'drawn. Its weights are damaged, or its training diverged, or the '
      'guidance is too large for its dtype.'
    )


def _draw(keys: jax.Array, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Draws in proportion to weights [B, ..., K].

  Returns:
    ids int32 [B, ...], and the sum of the weights, float32 [B, ...].
  """
  # By the inverse of the distribution function, one random number a token:
  # Gumbel noise for every id would cost a CPU as much as a small model.
  total = jnp.cumsum(weights, axis=-1)
  place = key_lib.draw(jax.random.uniform, keys, (*weights.shape[1:-1], 1))
  below = total <= place * total[..., -1:]
  return jnp.sum(below, axis=-1, dtype=jnp.int32), total[..., -1]


def _nucleus(p: jax.Array, top_p: float) -> jax.Array:
  """Returns which of p [..., K] are likely enough: bool [..., K].

  Bisects for the largest probability such that the ids at least as likely have
  `top_p` together; on a CPU a sort takes more than ten times as long. Floats
  from 0 to 1 are ordered as their bits, so the search ends at a float.
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
