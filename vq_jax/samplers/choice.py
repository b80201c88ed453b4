"""Which token: one draw from the logits."""

import dataclasses

import jax
import jax.numpy as jnp

from vq_jax.samplers import keys as key_lib

_ABOVE_ONE = 0x3F800001  # the bits of the float32 after 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenChoice:
  """Draws ids from logits, from all of them or from the likely ones.

  With both limits, `top_p` acts on what `top_k` left. At least one id is left.

  Attributes:
    temperature: divides the logits; 0 takes the most likely id.
    top_k: only the k most likely ids (of equal ones the lowest) are drawn; all
      if there are fewer. None is no limit.
    top_p: in (0, 1]; only the fewest ids that have this much probability
      together, and those as likely as the last of them, are drawn (nucleus
      sampling, Holtzman et al. 2020). None is no limit.
  """

  temperature: float = 1.0
  top_k: int | None = None
  top_p: float | None = None

  def __post_init__(self):
    if self.temperature < 0:
      raise ValueError(f'temperature must be >= 0; got {self.temperature}.')
    if self.top_k is not None and self.top_k < 1:
      raise ValueError(
        f'top_k must be at least 1, or None for no limit; got {self.top_k}.'
      )
    if self.top_p is not None and not 0 < self.top_p <= 1:
      raise ValueError(
        f'top_p must lie in (0, 1], or be None for no limit; got {self.top_p}.'
      )

  def __call__(self, keys: jax.Array, logits: jax.Array) -> jax.Array:
    """Draws one id from each distribution.

    Args:
      keys: [B], one per example.
      logits: float [B, ..., K].

    Returns:
      int32 [B, ...].
    """
    if self.temperature == 0:
      return jnp.argmax(logits, axis=-1).astype(jnp.int32)
    # A sum over many ids needs float32, whatever the logits come in.
    scaled = logits.astype(jnp.float32) / self.temperature
    ids = None
    if self.top_k is not None:
      scaled, ids = jax.lax.top_k(scaled, min(self.top_k, scaled.shape[-1]))
    p = jax.nn.softmax(scaled)
    if self.top_p is not None:
      p = jnp.where(_nucleus(p, self.top_p), p, 0)
    drawn = _draw(keys, p)
    if ids is None:
      return drawn
    return jnp.take_along_axis(ids, drawn[..., None], axis=-1)[..., 0]


def _draw(keys: jax.Array, weights: jax.Array) -> jax.Array:
  """Draws int32 [B, ...] in proportion to weights [B, ..., K]."""
  # By the inverse of the distribution function, one random number a token:
  # Gumbel noise for every id would cost a CPU as much as a small model.
  total = jnp.cumsum(weights, axis=-1)
  place = key_lib.draw(jax.random.uniform, keys, (*weights.shape[1:-1], 1))
  return jnp.sum(total <= place * total[..., -1:], axis=-1, dtype=jnp.int32)


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
