"""Binary spherical quantization: the signs of a vector of unit length."""

import math

import jax
import jax.numpy as jnp

from vq_jax.layers import normalization
from vq_jax.quantizers import base
from vq_jax.quantizers import bits as bits_lib
from vq_jax.utils import fields


class BSQ(base.Quantizer):
  """Binary spherical quantization (https://arxiv.org/abs/2406.07548, 3.2).

  With u = z / |z| the code is sign(u) / sqrt(D), where sign(0) = -1. The
  quantization error is bounded, |u - e|^2 < 2, without a commitment loss. The
  entropy loss is that of `LFQ` for the distances between u and the codes; the
  entropy of the batch treats the bits as independent, as in the paper. The
  gradient is copied to u, and passes through the normalisation to z.
  `vq_jax.quantizers.bits` defines the order of the bits.

  The defaults are those of the authors' configs (zhaoyue-zephyrus/bsq-vit). The
  temperature matters: |u_i| is about 1 / sqrt(D), so that with T = 0.01, the
  default of `LFQ`, the entropy loss has no gradient for a bit that is the same
  for all latents, which then stays the same.

  The state in the collection 'codebook' is `updates` [], the number of training
  steps, if `entropy_ramp_steps` is not 0.

  Attributes:
    bits: D, at most 30.
    commitment_weight: weight of a commitment loss, mean (u - sg[e])^2, which
      the paper does not have.
    entropy_weight: weight of the entropy loss. With 0 it is not computed.
    diversity_gamma: relative weight of the entropy of the batch.
    entropy_temperature: T in p = softmax(-|u - e|^2 / T).
    entropy_start_scale: factor of the weight of the entropy loss in the first
      training step.
    entropy_ramp_steps: number of training steps in which this factor falls
      linearly to 1; with 0 it is 1.
    axis_name: name of the pmap axis over which statistics are summed; None
      under jit, where arrays hold the global batch.

  Example:
    >>> import jax
    >>> from vq_jax import quantizers
    >>> quantizer = quantizers.BSQ(bits=4)
    >>> z = jax.random.normal(jax.random.key(0), (4, 4))
    >>> quantized, _ = quantizer.init_with_output(jax.random.key(1), z)
    >>> quantized.indices.shape
    (4,)
  """

  bits: int
  commitment_weight: fields.NonNegativeFloat = 0.0
  entropy_weight: fields.NonNegativeFloat = 0.1
  diversity_gamma: fields.NonNegativeFloat = 1.0
  entropy_temperature: fields.PositiveFloat = 1.0
  entropy_start_scale: fields.NonNegativeFloat = 3.0
  entropy_ramp_steps: fields.NonNegativeInt = 2000
  axis_name: str | None = None

  @property
  def codebook_size(self) -> int:
    """K = 2^D, the number of codes."""
    return 2**self.bits

  @property
  def code_dim(self) -> int:
    """D, the number of bits."""
    return self.bits

  @property
  def _scale(self) -> float:
    return 1 / math.sqrt(self.bits)

  def setup(self):
    """Checks `bits` and declares the number of training steps."""
    bits_lib.check_bits(self.bits)
    if self.entropy_ramp_steps:
      self.updates = self.variable('codebook', 'updates', jnp.int32, 0)

  def __call__(self, z: jax.Array, *, train: bool = False) -> base.Quantized:
    """Quantizes vectors.

    Args:
      z: float [..., D].
      train: whether the training step is counted, if `entropy_ramp_steps` is
        not 0, which needs the collection 'codebook' mutable.
    """
    z = self._check_input(z)
    entropy_weight = self._entropy_weight()
    update = train and z.size > 0 and not self.is_initializing()
    if update and self.entropy_ramp_steps:
      self.updates.value += 1
    return bits_lib.quantize(
      normalization.l2_normalize(z),
      scale=self._scale,
      commitment_weight=self.commitment_weight,
      entropy_weight=entropy_weight,
      diversity_gamma=self.diversity_gamma,
      entropy_temperature=self.entropy_temperature,
      entropy_bits=1,
      axis_name=self.axis_name,
    )

  def lookup(self, indices: jax.Array) -> jax.Array:
    """Returns the codes, float32 [..., D], of indices int32 [...]."""
    return self._scale * bits_lib.to_signs(indices, self.bits)

  def _entropy_weight(self) -> jax.Array | float | None:
    """Returns the weight of the entropy loss in this training step."""
    if not self.entropy_weight or not self.entropy_ramp_steps:
      return self.entropy_weight or None
    left = jnp.maximum(1 - self.updates.value / self.entropy_ramp_steps, 0)
    return self.entropy_weight * (1 + (self.entropy_start_scale - 1) * left)
