"""Vector quantization with a codebook that the gradient trains."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.quantizers import base
from vq_jax.quantizers import nearest as search


class VectorQuantizer(nn.Module):
  """The quantizer of VQ-VAE (van den Oord et al. 2017, eq. 1-3).

  Loss: mean (e - sg[z])^2 + beta * mean (sg[e] - z)^2. The first term, the
  codebook loss, moves the chosen codes to the latents; the second, the
  commitment loss, keeps the latents near their codes. Both are means over all
  elements.

  Attributes:
    codebook_size: K.
    code_dim: D, the width of a code.
    beta: weight of the commitment loss.
    codebook_init: initializer of the table [K, D]; by default uniform in
      +-sqrt(3 / D), Sonnet's.
    axis_name: the pmap axis over which the stats are summed.
    param_dtype: dtype of the table.
  """

  codebook_size: int
  code_dim: int
  beta: float = 0.25
  codebook_init: nn.initializers.Initializer = nn.initializers.variance_scaling(
    1.0, 'fan_out', 'uniform'
  )
  axis_name: str | None = None
  param_dtype: jnp.dtype = jnp.float32

  @property
  def index_shape(self) -> tuple[int, ...]:
    """A vector has one index."""
    return ()

  def setup(self):
    """Declares the codebook."""
    self.codebook = self.param(
      'codebook',
      self.codebook_init,
      (self.codebook_size, self.code_dim),
      self.param_dtype,
    )

  def __call__(self, z: jax.Array, *, train: bool = False) -> base.Quantized:
    """Quantizes z: float [..., D]; see `base.Quantized`."""
    del train  # the gradient does all the training
    base.check_width(z, self.code_dim, self)
    z = z.astype(jnp.float32)
    indices = search.nearest(z, self.codebook)
    codes = self.lookup(indices)
    commitment = base.mean_square(jax.lax.stop_gradient(codes) - z)
    codebook_loss = base.mean_square(codes - jax.lax.stop_gradient(z))
    counts = base.code_counts(
      indices, self.codebook_size, axis_name=self.axis_name
    )
    stats = {'commitment_loss': commitment, **base.batch_stats(counts)}
    return base.Quantized(
      codes=base.straight_through(z, codes),
      indices=indices,
      loss=codebook_loss + self.beta * commitment,
      stats=jax.lax.stop_gradient(stats),
    )

  def lookup(self, indices: jax.Array) -> jax.Array:
    """Returns the codes, float32 [..., D], of indices int32 [...]."""
    return jnp.asarray(self.codebook, jnp.float32)[indices]
