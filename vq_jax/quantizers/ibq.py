"""Index backpropagation: a soft gradient that reaches all codes."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.layers import initializers
from vq_jax.quantizers import base
from vq_jax.quantizers import blocks
from vq_jax.quantizers import entropy
from vq_jax.quantizers import gradients
from vq_jax.quantizers import nearest as search
from vq_jax.utils import fields


class IBQ(base.Quantizer):
  """Index backpropagation quantization (https://arxiv.org/abs/2412.02692).

  The code of z is the one of the largest product z . e. In the gradient the
  one-hot choice is replaced by softmax(z . e), so that the gradient of the
  output trains the latent and all codes. With q for the output with that
  gradient, and e for the chosen code, the loss is

    mean (q - z)^2 + mean (z - sg[e])^2 + commitment_weight mean (e - sg[z])^2

  plus the entropy loss of p = softmax(z . e / T). The name of the weight is
  that of the authors' implementation.

  Attributes:
    codebook_size: K, the number of codes.
    code_dim: D, the width of a code.
    commitment_weight: weight of the third term.
    entropy_weight: weight of the entropy loss; see
      `vq_jax.quantizers.entropy`. With 0 it is not computed.
    entropy_temperature: T.
    codebook_init: initializer of the codebook [K, D]; the authors' default.
    axis_name: name of the pmap axis over which statistics are summed; None
      under jit, where arrays hold the global batch.
    param_dtype: dtype of the codebook.

  Example:
    >>> import jax
    >>> from vq_jax import quantizers
    >>> quantizer = quantizers.IBQ(codebook_size=8, code_dim=2)
    >>> z = jax.random.normal(jax.random.key(0), (4, 2))
    >>> quantized, _ = quantizer.init_with_output(jax.random.key(1), z)
    >>> quantized.indices.shape
    (4,)
  """

  codebook_size: fields.PositiveInt
  code_dim: fields.PositiveInt
  commitment_weight: fields.NonNegativeFloat = 0.25
  entropy_weight: fields.NonNegativeFloat = 0.05
  entropy_temperature: fields.PositiveFloat = 0.01
  codebook_init: nn.initializers.Initializer = initializers.normal
  axis_name: str | None = None
  param_dtype: jnp.dtype = jnp.float32

  def setup(self):
    """Declares the codebook."""
    self.codebook = self.param(
      'codebook',
      self.codebook_init,
      (self.codebook_size, self.code_dim),
      self.param_dtype,
    )

  def __call__(self, z: jax.Array, *, train: bool = False) -> base.Quantized:
    """Quantizes vectors z: float [..., D]; `train` changes nothing."""
    del train
    z = self._check_input(z)
    codebook = jnp.asarray(self.codebook, jnp.float32)
    indices = search.most_similar(z, codebook)
    codes = codebook[indices]
    sums: Any
    gradient, sums = blocks.map_rows(
      functools.partial(self._compare, codebook), self.codebook_size, z
    )
    quantized = gradients.soft_choice(codes, gradient)
    loss = base.mean_square(quantized - z) + base.vq_loss(
      z, codes, self.commitment_weight, legacy=True
    )
    stats = {
      'commitment_loss': base.commitment_loss(z, codes),
      **base.batch_stats(indices, self.codebook_size, self.axis_name),
    }
    if self.entropy_weight:
      sample, batch = entropy.mean_entropies(sums, indices.size, self.axis_name)
      stats['entropy_loss'] = sample - batch
      loss += self.entropy_weight * stats['entropy_loss']
    return base.Quantized(
      quantized=quantized,
      indices=indices,
      loss=loss,
      stats=jax.lax.stop_gradient(stats),
    )

  def lookup(self, indices: jax.Array) -> jax.Array:
    """Returns the codes, float32 [..., D], of indices int32 [...]."""
    return jnp.asarray(self.codebook, jnp.float32)[indices]

  def _compare(
    self, codebook: jax.Array, z: jax.Array
  ) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    """Returns the gradient of the output, and sums for the entropy loss.

    Args:
      codebook: float32 [K, D].
      z: float32 [..., D].
    """
    logits = search.inner_products(z, codebook)
    gradient = gradients.weighted_mean_gradient(logits, codebook)
    if not self.entropy_weight:
      return gradient, ()
    return gradient, entropy.entropy_sums(logits / self.entropy_temperature)
