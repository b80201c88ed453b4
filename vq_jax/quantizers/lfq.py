"""Lookup-free quantization: the code of a vector is its signs."""

import jax

from vq_jax.quantizers import base
from vq_jax.quantizers import bits as bits_lib
from vq_jax.utils import fields


class LFQ(base.Quantizer):
  """Lookup-free quantization (https://arxiv.org/abs/2310.05737, 3.1).

  MAGVIT-v2's code of z is scale * sign(z), with sign(0) = -1, one of 2^D. The
  entropy loss E[H(p)] - diversity_gamma H(E[p]) with p = softmax(-|z - e|^2 /
  T) makes each vector certain of its code and the batch use all codes. p is a
  product over the dimensions, so that the first term is exact for any D; for
  the second see `entropy.bit_entropies`. `vq_jax.quantizers.bits` defines the
  order of the bits.

  The defaults are those of Open-MAGVIT2 (TencentARC/SEED-Voken). With T = 0.01
  the gradient of the entropy loss vanishes where |z| > 0.2: the loss balances
  the bits while latents are small, and a bit that is later the same for all
  latents stays the same. With T = 1 the loss still changes such a bit.

  Attributes:
    bits: D, at most 30.
    scale: absolute value of each dimension of a code.
    commitment_weight: weight of the commitment loss, mean (z - sg[e])^2; the
      default is Open-MAGVIT2's.
    entropy_weight: weight of the entropy loss. With 0 it is not computed.
    diversity_gamma: relative weight of the entropy of the batch.
    entropy_temperature: T.
    entropy_bits: the largest number of bits whose joint entropy over the batch
      is computed; more bits are split into groups.
    axis_name: name of the pmap axis over which statistics are summed; None
      under jit, where arrays hold the global batch.

  Example:
    >>> import jax
    >>> from vq_jax import quantizers
    >>> quantizer = quantizers.LFQ(bits=4)
    >>> z = jax.random.normal(jax.random.key(0), (4, 4))
    >>> quantized, _ = quantizer.init_with_output(jax.random.key(1), z)
    >>> quantized.indices.shape
    (4,)
  """

  bits: int
  scale: fields.PositiveFloat = 1.0
  commitment_weight: fields.NonNegativeFloat = 0.25
  entropy_weight: fields.NonNegativeFloat = 0.1
  diversity_gamma: fields.NonNegativeFloat = 1.0
  entropy_temperature: fields.PositiveFloat = 0.01
  entropy_bits: fields.PositiveInt = 10
  axis_name: str | None = None

  @property
  def codebook_size(self) -> int:
    """K = 2^D, the number of codes."""
    return 2**self.bits

  @property
  def code_dim(self) -> int:
    """D, the number of bits."""
    return self.bits

  def setup(self):
    """Checks the number of bits."""
    bits_lib.check_bits(self.bits)

  def __call__(self, z: jax.Array, *, train: bool = False) -> base.Quantized:
    """Quantizes vectors z: float [..., D]; `train` changes nothing."""
    del train
    return bits_lib.quantize(
      self._check_input(z),
      scale=self.scale,
      commitment_weight=self.commitment_weight,
      entropy_weight=self.entropy_weight or None,
      diversity_gamma=self.diversity_gamma,
      entropy_temperature=self.entropy_temperature,
      entropy_bits=self.entropy_bits,
      axis_name=self.axis_name,
    )

  def lookup(self, indices: jax.Array) -> jax.Array:
    """Returns the codes, float32 [..., D], of indices int32 [...]."""
    return self.scale * bits_lib.to_signs(indices, self.bits)
