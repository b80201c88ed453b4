"""Binary spherical quantization: signs of a vector on the unit sphere."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.quantizers import base
from vq_jax.quantizers import bits as bits_lib
from vq_jax.quantizers import nearest as search


class BSQ(nn.Module):
  """u = z / |z|, and the code is sign(u) / sqrt(D) (Zhao et al. 2024, 3.2).

  The error is bounded, |u - e|^2 < 2, without a commitment loss. The entropy
  loss is that of `LFQ`, with distances between u and the codes; the entropy
  over the batch takes the bits to be independent, as that paper does. The
  gradient passes straight through to u, and from there to z. 0 counts as
  negative. Order of the bits: see `bits`.

  Attributes:
    bits: D; there are 2^D codes, at most 2^30.
    beta: weight of the commitment loss, mean (sg[e] - u)^2.
    entropy_weight: weight of the entropy loss.
    gamma: weight in it of the entropy over the batch.
    entropy_temperature: T in p = softmax(-|u - e|^2 / T).
    axis_name: the pmap axis over which statistics are summed; None under jit,
      where the batch is global already.
  """

  bits: int
  beta: float = 0.25
  entropy_weight: float = 0.1
  gamma: float = 1.0
  entropy_temperature: float = 0.01
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

  @property
  def _scale(self) -> float:
    return 1 / math.sqrt(self.bits)

  def setup(self):
    """Checks the number of bits."""
    bits_lib.check_bits(self.bits)

  def __call__(self, z: jax.Array, *, train: bool = False) -> base.Quantized:
    """Quantizes z: float [..., D]; see `base.Quantized`."""
    del train  # nothing to learn
    base.check_width(z, self.bits, self)
    return bits_lib.quantize(
      search.unit(z.astype(jnp.float32)),
      scale=self._scale,
      beta=self.beta,
      entropy_weight=self.entropy_weight,
      gamma=self.gamma,
      entropy_temperature=self.entropy_temperature,
      entropy_bits=1,
      axis_name=self.axis_name,
    )

  def lookup(self, indices: jax.Array) -> jax.Array:
    """Returns the codes, float32 [..., D], of indices int32 [...]."""
    return self._scale * bits_lib.to_signs(indices, self.bits)
