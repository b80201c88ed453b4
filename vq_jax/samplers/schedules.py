"""How much stays masked: gamma(ratio) falls from 1 to 0 (MaskGIT, section 3.3).

Each function maps a ratio in [0, 1] (steps done / steps, or a uniform draw in
training) and the number of tokens to the fraction that is masked. They are
plain functions, hence hashable and static under jit.
"""

import jax
import jax.numpy as jnp


def cosine(ratio: jax.Array, num_tokens: int) -> jax.Array:
  """cos(pi r / 2), the best of MaskGIT's ablation."""
  del num_tokens
  return jnp.cos(ratio * (jnp.pi / 2))


def linear(ratio: jax.Array, num_tokens: int) -> jax.Array:
  """1 - r."""
  del num_tokens
  return 1 - ratio


def square(ratio: jax.Array, num_tokens: int) -> jax.Array:
  """1 - r^2."""
  del num_tokens
  return 1 - ratio**2


def cubic(ratio: jax.Array, num_tokens: int) -> jax.Array:
  """1 - r^3."""
  del num_tokens
  return 1 - ratio**3


def sqrt(ratio: jax.Array, num_tokens: int) -> jax.Array:
  """1 minus the square root of r."""
  del num_tokens
  return 1 - jnp.sqrt(ratio)


def arccos(ratio: jax.Array, num_tokens: int) -> jax.Array:
  """The arc cosine of r over pi / 2: the schedule of Muse and TiTok."""
  del num_tokens
  return jnp.arccos(jnp.clip(ratio, 0, 1)) * (2 / jnp.pi)


def log(ratio: jax.Array, num_tokens: int) -> jax.Array:
  """-log2(r) / log2(N), clipped to [0, 1]."""
  n = max(num_tokens, 2)
  return -jnp.log(jnp.clip(ratio, 1 / n, 1)) / jnp.log(float(n))


def exp(ratio: jax.Array, num_tokens: int) -> jax.Array:
  """1 - 2^(-log2(N) (1 - r)) = 1 - N^(r - 1); it starts at 1 - 1/N."""
  return 1 - jnp.power(float(num_tokens), ratio - 1)
