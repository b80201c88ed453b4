"""Lookup-free quantization: the signs of a vector are its code."""

import jax
import jax.numpy as jnp

from vq_jax.layers import checked
from vq_jax.quantizers import base
from vq_jax.quantizers import bits as bits_lib
from vq_jax.utils import fields


class LFQ(checked.CheckedModule):
  """The quantizer of MAGVIT-v2 (Yu et al. 2023, 3.1): code = sign(z).

  Of 2^bits codes, each dimension chooses one half; 0 counts as negative. The
  entropy loss E[H(p)] - gamma H(E[p]), with p = softmax(-|z - e|^2 / T), makes
  each vector sure and all codes used. p is a product over dimensions, so the
  first entropy is exact for any number of codes; see `entropy.bit_entropies`
  for the second. Order of the bits: see `bits`.

  The defaults are those of Open-MAGVIT2 (TencentARC/SEED-Voken), which has the
  temperature of MAGVIT's code. At T = 0.01 the entropy loss has no gradient
  where |z| is above 0.2: bits are balanced while latents are still small, and
  one that all latents leave on one side later stays there. With T = 1 the
  entropy loss moves such a bit.

  Attributes:
    bits: D; there are 2^D codes, at most 2^30.
    scale: codes are +-scale.
    commitment_weight: weight of the commitment loss, mean (sg[e] - z)^2; the
      default is Open-MAGVIT2's.
    entropy_weight: weight of the entropy loss.
    gamma: weight in it of the entropy over the batch.
    entropy_temperature: T.
    entropy_bits: the entropy over the batch is exact up to so many bits, and
      beyond them taken over groups of at most so many.
    axis_name: the pmap axis over which statistics are summed; None under jit,
      where the batch is global already.
  """

  bits: int
  scale: fields.PositiveFloat = 1.0
  commitment_weight: fields.NonNegativeFloat = 0.25
  entropy_weight: fields.NonNegativeFloat = 0.1
  gamma: fields.NonNegativeFloat = 1.0
  entropy_temperature: fields.PositiveFloat = 0.01
  entropy_bits: fields.PositiveInt = 10
  axis_name: str | None = None

  @property
  def codebook_size(self) -> int:
    """K, the number of codes."""
    return 2**self.bits

  @property
  def code_dim(self) -> int:
    """D, a dimension for each bit."""
    return self.bits

  @property
  def index_shape(self) -> tuple[int, ...]:
    """A vector has one index."""
    return ()

  def setup(self):
    """Checks the number of bits."""
    bits_lib.check_bits(self.bits)

  def __call__(self, z: jax.Array, *, train: bool = False) -> base.Quantized:
    """Quantizes z: float [..., D]; see `base.Quantized`."""
    del train  # nothing to learn
    base.check_width(z, self.bits, self)
    return bits_lib.quantize(
      z.astype(jnp.float32),
      scale=self.scale,
      commitment_weight=self.commitment_weight,
      entropy_weight=self.entropy_weight,
      gamma=self.gamma,
      entropy_temperature=self.entropy_temperature,
      entropy_bits=self.entropy_bits,
      axis_name=self.axis_name,
    )

  def lookup(self, indices: jax.Array) -> jax.Array:
    """Returns the codes, float32 [..., D], of indices int32 [...]."""
    return self.scale * bits_lib.to_signs(indices, self.bits)
