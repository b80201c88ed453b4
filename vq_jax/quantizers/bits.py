"""Indices of codes that consist of signs.

Bit i of an index tells whether dimension i of the code is positive, so the
first dimension is the least significant bit, as in Open-MAGVIT2. (The library
vector-quantize-pytorch has it the other way round: indices of its models must
be reversed bit by bit.)
"""

import jax
import jax.numpy as jnp

_MOST = 30  # more do not fit an int32


def check_bits(bits: int) -> None:
  """Raises ValueError unless an int32 can number the codes."""
  if not 1 <= bits <= _MOST:
    raise ValueError(
      f'bits must be from 1 to {_MOST}, for indices are int32; got {bits}. '
      "Use several quantizers of fewer bits: {'type': 'grouped', ...}."
    )


def to_indices(positive: jax.Array) -> jax.Array:
  """Maps bool [..., D] to int32 [...]."""
  places = jnp.left_shift(1, jnp.arange(positive.shape[-1], dtype=jnp.int32))
  return jnp.einsum('...d,d->...', positive.astype(jnp.int32), places)


def to_signs(indices: jax.Array, bits: int) -> jax.Array:
  """Maps int32 [...] to float32 [..., bits], each -1 or 1."""
  places = jnp.arange(bits, dtype=jnp.int32)
  places = jnp.expand_dims(places, range(indices.ndim))
  bit = jnp.right_shift(indices[..., None], places) & 1
  return (2 * bit - 1).astype(jnp.float32)
