"""Which token: one draw from the logits."""

import dataclasses

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenChoice:
  """Draws ids from logits.

  Attributes:
    temperature: divides the logits; 0 takes the most likely id.
  """

  temperature: float = 1.0

  def __post_init__(self):
    if self.temperature < 0:
      raise ValueError(f'temperature must be >= 0; got {self.temperature}.')

  def __call__(self, rng: jax.Array, logits: jax.Array) -> jax.Array:
    """Returns int32 [...] for logits [..., K]."""
    if self.temperature == 0:
      return jnp.argmax(logits, axis=-1).astype(jnp.int32)
    # By the inverse of the distribution function, one random number a token:
    # Gumbel noise for every id would cost a CPU as much as a small model.
    # A sum over many ids needs float32, whatever the logits come in.
    scaled = logits.astype(jnp.float32) / self.temperature
    total = jnp.cumsum(jax.nn.softmax(scaled), axis=-1)
    place = jax.random.uniform(rng, (*logits.shape[:-1], 1)) * total[..., -1:]
    return jnp.sum(total <= place, axis=-1, dtype=jnp.int32)
