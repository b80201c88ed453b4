"""Codes that consist of signs, and their indices.

Bit i of an index tells whether dimension i of the code is positive, so the
first dimension is the least significant bit, as in Open-MAGVIT2. (The library
vector-quantize-pytorch has it the other way round: indices of its models must
be reversed bit by bit.)
"""

import jax
import jax.numpy as jnp

from vq_jax.quantizers import base
from vq_jax.quantizers import entropy
from vq_jax.quantizers import gradients

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


def quantize(
  x: jax.Array,
  *,
  scale: float,
  commitment_weight: float,
  entropy_weight: jax.Array | float,
  gamma: float,
  entropy_temperature: float,
  entropy_bits: int,
  axis_name: str | None,
) -> base.Quantized:
  """Quantizes x by its signs; 0 counts as negative.

  Args:
    x: float32 [..., D].
    scale: codes are +-scale.
    commitment_weight: weight of the commitment loss.
    entropy_weight: weight of E[H(p)] - gamma H(E[p]).
    gamma: see there.
    entropy_temperature: T in p = softmax(-|x - e|^2 / T).
    entropy_bits: see `entropy.bit_entropies`.
    axis_name: the replicas' axis.
  """
  bits = x.shape[-1]
  indices = to_indices(x > 0)
  codes = scale * to_signs(indices, bits)
  commitment = base.commitment_loss(x, codes)
  sample, batch = entropy.bit_entropies(
    # |x + s|^2 - |x - s|^2, over T
    4 * scale * x / entropy_temperature,
    entropy_bits,
    axis_name,
  )
  counts = base.code_counts(indices, 2**bits, axis_name=axis_name)
  stats = {
    'commitment_loss': commitment,
    'entropy_loss': sample - gamma * batch,
    **base.batch_stats(counts),
  }
  return base.Quantized(
    quantized=gradients.straight_through(x, codes),
    indices=indices,
    loss=commitment_weight * commitment
    + entropy_weight * stats['entropy_loss'],
    stats=jax.lax.stop_gradient(stats),
  )
