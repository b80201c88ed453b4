"""A frozen codebook behind one linear map that is trained."""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.layers import checked
from vq_jax.quantizers import base
from vq_jax.quantizers import gradients
from vq_jax.quantizers import nearest as search
from vq_jax.utils import fields


class SimVQ(checked.CheckedModule):
  """Codes e = c W, c frozen and W trained (Zhu et al. 2024, 4).

  Each step moves W and with it all codes, chosen or not, so that none dies. The
  losses are those of `VectorQuantizer`. The authors' code (youngsheen/SimVQ)
  has a bias in the map, which moves all codes alike; the paper has none.

  State, in the collection 'codebook': `codebook` [K, D], drawn from
  N(0, 1 / D), which never changes. Parameter: `linear`, W [D, D], no bias.

  Attributes:
    codebook_size: K.
    code_dim: D.
    commitment_weight: weight of the commitment loss.
    gradient_estimator: what the latent is told; see `gradients`.
    axis_name: the pmap axis over which statistics are summed; None under jit,
      where the batch is global already.
    param_dtype: dtype of W.
  """

  codebook_size: fields.PositiveInt
  code_dim: fields.PositiveInt
  commitment_weight: fields.NonNegativeFloat = 0.25
  gradient_estimator: Literal['straight_through', 'rotation'] = (
    'straight_through'
  )
  axis_name: str | None = None
  param_dtype: jnp.dtype = jnp.float32

  @property
  def index_shape(self) -> tuple[int, ...]:
    """A vector has one index."""
    return ()

  def setup(self):
    """Declares the frozen codebook and the map."""
    shape = (self.codebook_size, self.code_dim)
    draw = nn.initializers.normal(self.code_dim**-0.5)
    self.codebook = self.variable(
      'codebook', 'codebook', lambda: draw(self.make_rng('params'), shape)
    )
    self.linear = nn.Dense(
      self.code_dim,
      use_bias=False,
      dtype=jnp.float32,
      param_dtype=self.param_dtype,
      precision=jax.lax.Precision.HIGHEST,
    )

  def __call__(self, z: jax.Array, *, train: bool = False) -> base.Quantized:
    """Quantizes z: float [..., D]; see `base.Quantized`."""
    del train  # the gradient does all the training
    base.check_width(z, self.code_dim, self)
    z = z.astype(jnp.float32)
    table = self._table()
    indices = search.nearest(z, table)
    codes = table[indices]
    commitment = base.commitment_loss(z, codes)
    counts = base.code_counts(
      indices, self.codebook_size, axis_name=self.axis_name
    )
    stats = {'commitment_loss': commitment, **base.batch_stats(counts)}
    return base.Quantized(
      quantized=gradients.estimate(self.gradient_estimator, z, codes),
      indices=indices,
      loss=base.weighed_losses(
        commitment, base.codebook_loss(z, codes), self.commitment_weight
      ),
      stats=jax.lax.stop_gradient(stats),
    )

  def lookup(self, indices: jax.Array) -> jax.Array:
    """Returns the codes, float32 [..., D], of indices int32 [...]."""
    return self._table()[indices]

  def _table(self) -> jax.Array:
    return self.linear(jax.lax.stop_gradient(self.codebook.value))
