"""SimVQ: a frozen codebook that one trained linear map transforms."""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.quantizers import base
from vq_jax.quantizers import gradients
from vq_jax.quantizers import nearest as search
from vq_jax.utils import fields


class SimVQ(base.Quantizer):
  """Codes e = c W with a frozen c and a trained W.

  SimVQ (https://arxiv.org/abs/2411.02038, 4): each step changes W and with it
  all codes, chosen or not, so that no code dies. The loss is that of
  `VectorQuantizer`. The authors' implementation (youngsheen/SimVQ) adds a bias,
  which moves all codes equally; the paper has none.

  The frozen `codebook` [K, D], drawn from N(0, 1 / D), is in the collection
  'codebook', and W [D, D] is the parameter `linear`.

  Attributes:
    codebook_size: K, the number of codes.
    code_dim: D, the width of a code.
    commitment_weight: weight of the commitment loss, mean (z - sg[e])^2.
    gradient_estimator: how the gradient of the output passes to the latent;
      see `vq_jax.quantizers.gradients`.
    axis_name: name of the pmap axis over which statistics are summed; None
      under jit, where arrays hold the global batch.
    param_dtype: dtype of W.

  Example:
    >>> import jax
    >>> from vq_jax import quantizers
    >>> quantizer = quantizers.SimVQ(codebook_size=8, code_dim=2)
    >>> z = jax.random.normal(jax.random.key(0), (4, 2))
    >>> quantized, variables = quantizer.init_with_output(jax.random.key(1), z)
    >>> variables['params']['linear']['kernel'].shape
    (2, 2)
  """

  codebook_size: fields.PositiveInt
  code_dim: fields.PositiveInt
  commitment_weight: fields.NonNegativeFloat = 0.25
  gradient_estimator: Literal['straight_through', 'rotation'] = (
    'straight_through'
  )
  axis_name: str | None = None
  param_dtype: jnp.dtype = jnp.float32

  def setup(self):
    """Declares the frozen codebook and the linear map."""
    shape = (self.codebook_size, self.code_dim)
    init = nn.initializers.normal(self.code_dim**-0.5)
    self.codebook = self.variable(
      'codebook', 'codebook', lambda: init(self.make_rng('params'), shape)
    )
    self.linear = nn.Dense(
      self.code_dim,
      use_bias=False,
      dtype=jnp.float32,
      param_dtype=self.param_dtype,
      precision=jax.lax.Precision.HIGHEST,
    )

  def __call__(self, z: jax.Array, *, train: bool = False) -> base.Quantized:
    """Quantizes vectors z: float [..., D]; `train` changes nothing."""
    del train
    z = self._check_input(z)
    codebook = self._codebook()
    indices = search.nearest(z, codebook)
    codes = codebook[indices]
    stats = {
      'commitment_loss': base.commitment_loss(z, codes),
      **base.batch_stats(indices, self.codebook_size, self.axis_name),
    }
    return base.Quantized(
      quantized=gradients.estimate(self.gradient_estimator, z, codes),
      indices=indices,
      loss=base.vq_loss(z, codes, self.commitment_weight),
      stats=jax.lax.stop_gradient(stats),
    )

  def lookup(self, indices: jax.Array) -> jax.Array:
    """Returns the codes, float32 [..., D], of indices int32 [...]."""
    return self._codebook()[indices]

  def _codebook(self) -> jax.Array:
    return self.linear(jax.lax.stop_gradient(self.codebook.value))
