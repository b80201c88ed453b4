"""Vector quantization with a codebook that is trained by gradient descent."""

import jax
import jax.numpy as jnp

from vq_jax.layers import normalization
from vq_jax.quantizers import base
from vq_jax.quantizers import codebook


class VectorQuantizer(codebook.CodebookQuantizer):
  """The quantizer of VQ-VAE (https://arxiv.org/abs/1711.00937, eq. 1-3).

  The code of a latent z is its nearest codebook entry e, and the loss is

    mean (e - sg[z])^2 + commitment_weight * mean (z - sg[e])^2

  over all elements. The first term, the codebook loss, moves the chosen codes
  towards the latents; the second, the commitment loss, keeps the latents close
  to their codes.

  The codebook is the parameter `codebook` [K, D]. K-means initialisation and
  dead-code revival add state in the collection 'codebook': `cluster_size` [K],
  the moving average of the counts; `updates` [], the number of training steps;
  and the rows to be replaced, which the training step must write into the
  parameter with `apply_replacements`.

  Attributes:
    legacy: whether `commitment_weight` weighs the codebook loss instead, as in
      the models that taming-transformers released (the default of its
      `VectorQuantizer2`; issues 46 and 57 of its repository).
    param_dtype: dtype of the codebook.

  The other attributes are those of
  `vq_jax.quantizers.codebook.CodebookQuantizer`.

  Example:
    >>> import jax
    >>> from vq_jax import quantizers
    >>> quantizer = quantizers.VectorQuantizer(codebook_size=8, code_dim=2)
    >>> z = jax.random.normal(jax.random.key(0), (4, 4, 2))
    >>> quantized, variables = quantizer.init_with_output(jax.random.key(1), z)
    >>> quantized.quantized.shape, quantized.indices.shape
    ((4, 4, 2), (4, 4))
  """

  legacy: bool = False
  param_dtype: jnp.dtype = jnp.float32

  @property
  def _has_state(self) -> bool:
    return self.kmeans_iterations is not None or self.dead_code_threshold > 0

  def setup(self):
    """Declares the codebook and its state."""
    shape = (self.codebook_size, self.code_dim)
    self.codebook = self.param(
      'codebook', self.codebook_init, shape, self.param_dtype
    )
    if self._has_state:
      self.replaced = self.variable(
        'codebook', 'replaced', jnp.zeros, shape[:1], bool
      )
      self.replacement = self.variable(
        'codebook', 'replacement', jnp.zeros, shape, jnp.float32
      )
      self.cluster_size = self.variable(
        'codebook', 'cluster_size', jnp.ones, shape[:1], jnp.float32
      )
      self.updates = self.variable('codebook', 'updates', jnp.int32, 0)

  def _codebook(self) -> jax.Array:
    codes = jnp.asarray(self.codebook, jnp.float32)
    if self._has_state:
      # Rows that `apply_replacements` has not yet written into the parameter.
      codes = jnp.where(
        self.replaced.value[:, None], self.replacement.value, codes
      )
    return normalization.l2_normalize(codes) if self.l2_normalize else codes

  def _loss(self, z: jax.Array, codes: jax.Array) -> jax.Array:
    return base.vq_loss(z, codes, self.commitment_weight, legacy=self.legacy)

  def _replace_codes(
    self, replaced: jax.Array, codes: jax.Array, counts: jax.Array
  ) -> None:
    self.replaced.value |= replaced
    self.replacement.value = jnp.where(
      replaced[:, None], codes, self.replacement.value
    )
    self.cluster_size.value = jnp.where(
      replaced, counts, self.cluster_size.value
    )

  def _update(
    self, z: jax.Array, indices: jax.Array, codes: jax.Array
  ) -> dict[str, jax.Array]:
    if not self._has_state:
      return {}
    counts = base.code_counts(
      indices, self.codebook_size, axis_name=self.axis_name
    )
    self.cluster_size.value = (
      self.decay * self.cluster_size.value + (1 - self.decay) * counts
    )
    stats = self._revive_dead_codes(z, codes, counts)
    self.updates.value += 1
    return stats
