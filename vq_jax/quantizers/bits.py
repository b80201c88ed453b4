"""Binary codes: the signs of a vector, and the integers they encode.

Bit i of an index is 1 if dimension i of the code is positive, so that the first
dimension is the least significant bit, as in Open-MAGVIT2. In
lucidrains/vector-quantize-pytorch it is the most significant bit; indices of
its models must be reversed bit by bit.
"""

import jax
import jax.numpy as jnp

from vq_jax.quantizers import base
from vq_jax.quantizers import entropy
from vq_jax.quantizers import gradients

# The largest number of bits of an int32 index.
_MAX_BITS = 30


def check_bits(bits: int) -> None:
  """Raises ValueError unless an int32 can hold the index of a code."""
  if not 1 <= bits <= _MAX_BITS:
    raise ValueError(
      f'bits must be from 1 to {_MAX_BITS}, because indices are int32; got '
      f'{bits}. '
      "Use several quantizers of fewer bits: {'type': 'grouped', ...}."
    )


def to_indices(positive: jax.Array) -> jax.Array:
  """Maps bool [..., D] to int32 [...]."""
  values = jnp.left_shift(1, jnp.arange(positive.shape[-1], dtype=jnp.int32))
  return jnp.einsum('...d,d->...', positive.astype(jnp.int32), values)


def to_signs(indices: jax.Array, bits: int) -> jax.Array:
  """Maps int32 [...] to float32 [..., bits], each -1 or 1."""
  shifts = jnp.arange(bits, dtype=jnp.int32)
  shifts = jnp.expand_dims(shifts, range(indices.ndim))
  bit = jnp.right_shift(indices[..., None], shifts) & 1
  return (2 * bit - 1).astype(jnp.float32)


def quantize(
  x: jax.Array,
  *,
  scale: float,
  commitment_weight: float,
  entropy_weight: jax.Array | float | None,
  diversity_gamma: float,
  entropy_temperature: float,
  entropy_bits: int,
  axis_name: str | None,
) -> base.Quantized:
  """Quantizes x to scale * sign(x), with sign(0) = -1.

  The loss is

    commitment_weight * mean (x - sg[e])^2
    + entropy_weight * (E[H(p)] - diversity_gamma H(E[p]))

  with p = softmax(-|x - e|^2 / entropy_temperature) over all codes e.

  Args:
    x: float32 [..., D].
    scale: absolute value of each dimension of a code.
    commitment_weight: weight of the commitment loss.
    entropy_weight: weight of the entropy loss; with None it is not computed.
    diversity_gamma: relative weight of the entropy of the batch.
    entropy_temperature: T.
    entropy_bits: group size of the entropy of the batch; see
      `entropy.bit_entropies`.
    axis_name: name of the pmap axis, or None.
  """
  bits = x.shape[-1]
  indices = to_indices(x > 0)
  codes = scale * to_signs(indices, bits)
  commitment = base.commitment_loss(x, codes)
  loss = commitment_weight * commitment
  stats = {
    'commitment_loss': commitment,
    **base.batch_stats(indices, 2**bits, axis_name),
  }
  if entropy_weight is not None:
    # The logit of a bit is (|x + s|^2 - |x - s|^2) / T.
    sample_entropy, batch_entropy = entropy.bit_entropies(
      4 * scale * x / entropy_temperature, entropy_bits, axis_name
    )
    stats['entropy_loss'] = sample_entropy - diversity_gamma * batch_entropy
    loss += entropy_weight * stats['entropy_loss']
  return base.Quantized(
    quantized=gradients.straight_through(x, codes),
    indices=indices,
    loss=loss,
    stats=jax.lax.stop_gradient(stats),
  )
