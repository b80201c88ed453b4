"""Binary spherical quantization: signs of a vector on the unit sphere."""

import math

import jax
import jax.numpy as jnp

from vq_jax.layers import checked
from vq_jax.quantizers import base
from vq_jax.quantizers import bits as bits_lib
from vq_jax.quantizers import nearest as search
from vq_jax.utils import fields


class BSQ(checked.CheckedModule):
  """u = z / |z|, and the code is sign(u) / sqrt(D) (Zhao et al. 2024, 3.2).

  The error is bounded, |u - e|^2 < 2, without a commitment loss. The entropy
  loss is that of `LFQ`, with distances between u and the codes; the entropy
  over the batch takes the bits to be independent, as that paper does. The
  gradient passes straight through to u, and from there to z. 0 counts as
  negative. Order of the bits: see `bits`.

  The defaults are those of the authors' configs (zhaoyue-zephyrus/bsq-vit).
  The temperature matters: u is short, |u_i| being about 1 / sqrt(D), so that
  with T = 0.01, which is LFQ's, the entropy loss gives a bit that is always
  the same no gradient, and it stays so.

  State, in the collection 'codebook', if the weight of the entropy loss
  falls: `updates` [].

  Attributes:
    bits: D; there are 2^D codes, at most 2^30.
    commitment_weight: weight of a commitment loss, mean (sg[e] - u)^2; the
      paper has none.
    entropy_weight: weight of the entropy loss.
    gamma: weight in it of the entropy over the batch.
    entropy_temperature: T in p = softmax(-|u - e|^2 / T).
    entropy_start_scale: the entropy loss weighs so many times as much in the
      beginning.
    entropy_ramp_steps: updates in which this falls linearly to 1; with 0 the
      weight is the same throughout.
    axis_name: the pmap axis over which statistics are summed; None under jit,
      where the batch is global already.
  """

  bits: int
  commitment_weight: fields.NonNegativeFloat = 0.0
  entropy_weight: fields.NonNegativeFloat = 0.1
  gamma: fields.NonNegativeFloat = 1.0
  entropy_temperature: fields.PositiveFloat = 1.0
  entropy_start_scale: fields.NonNegativeFloat = 3.0
  entropy_ramp_steps: fields.NonNegativeInt = 2000
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
    """Checks the number of bits and declares the count of updates."""
    bits_lib.check_bits(self.bits)
    if self.entropy_ramp_steps:
      self.updates = self.variable('codebook', 'updates', jnp.int32, 0)

  def __call__(self, z: jax.Array, *, train: bool = False) -> base.Quantized:
    """Quantizes z: float [..., D]; see `base.Quantized`.

    While the entropy loss's weight falls, `train` needs the collection
    'codebook' mutable.
    """
    base.check_width(z, self.bits, self)
    entropy_weight = self._entropy_weight()
    learn = train and z.size > 0 and not self.is_initializing()
    if learn and self.entropy_ramp_steps:
      self.updates.value += 1
    return bits_lib.quantize(
      search.l2_normalize(z.astype(jnp.float32)),
      scale=self._scale,
      commitment_weight=self.commitment_weight,
      entropy_weight=entropy_weight,
      gamma=self.gamma,
      entropy_temperature=self.entropy_temperature,
      entropy_bits=1,
      axis_name=self.axis_name,
    )

  def lookup(self, indices: jax.Array) -> jax.Array:
    """Returns the codes, float32 [..., D], of indices int32 [...]."""
    return self._scale * bits_lib.to_signs(indices, self.bits)

  def _entropy_weight(self) -> jax.Array | float:
    """Returns the weight of the entropy loss in this update."""
    if not self.entropy_ramp_steps:
      return self.entropy_weight
    left = jnp.maximum(1 - self.updates.value / self.entropy_ramp_steps, 0)
    return self.entropy_weight * (1 + (self.entropy_start_scale - 1) * left)
