"""Index backpropagation: the gradient reaches all codes by their scores."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.layers import checked
from vq_jax.layers import initializers
from vq_jax.quantizers import base
from vq_jax.quantizers import entropy
from vq_jax.quantizers import gradients
from vq_jax.utils import fields


class IBQ(checked.CheckedModule):
  """The code of the largest z . e, with a soft gradient (Shi et al. 2024).

  The choice is a one-hot vector whose derivative is that of softmax(z . e), so
  that whatever moves the output moves every code and the latent. With q the
  output with that derivative, and e the chosen code alone:

    mean (q - z)^2 + mean (sg[e] - z)^2 + w mean (e - sg[z])^2

  and the entropy loss of p = softmax(z . e / T).

  Attributes:
    codebook_size: K.
    code_dim: D.
    commitment_weight: weight of the third term.
    entropy_weight: weight of the entropy loss, see `entropy`.
    entropy_temperature: T.
    codebook_init: initializer of the table [K, D]; the authors' default.
    axis_name: the pmap axis over which statistics are summed; None under jit,
      where the batch is global already.
    param_dtype: dtype of the table.
  """

  codebook_size: fields.PositiveInt
  code_dim: fields.PositiveInt
  commitment_weight: fields.NonNegativeFloat = 0.25
  entropy_weight: fields.NonNegativeFloat = 0.05
  entropy_temperature: fields.PositiveFloat = 0.01
  codebook_init: nn.initializers.Initializer = initializers.normal
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
    table = jnp.asarray(self.codebook, jnp.float32)
    logits = jnp.einsum(
      '...d,kd->...k', z, table, precision=jax.lax.Precision.HIGHEST
    )
    indices = jnp.argmax(logits, axis=-1).astype(jnp.int32)
    codes = table[indices]
    through = self._choose(jax.nn.softmax(logits), indices, table)
    commitment = base.commitment_loss(z, codes)
    sample, batch = entropy.entropies(
      logits / self.entropy_temperature, self.axis_name
    )
    counts = base.code_counts(
      indices, self.codebook_size, axis_name=self.axis_name
    )
    stats = {
      'commitment_loss': commitment,
      'entropy_loss': sample - batch,
      **base.batch_stats(counts),
    }
    loss = (
      base.mean_square(through - z)
      + base.weighed_losses(
        commitment,
        base.codebook_loss(z, codes),
        self.commitment_weight,
        legacy=True,
      )
      + self.entropy_weight * stats['entropy_loss']
    )
    return base.Quantized(
      quantized=through,
      indices=indices,
      loss=loss,
      stats=jax.lax.stop_gradient(stats),
    )

  def lookup(self, indices: jax.Array) -> jax.Array:
    """Returns the codes, float32 [..., D], of indices int32 [...]."""
    return jnp.asarray(self.codebook, jnp.float32)[indices]

  def _choose(
    self, soft: jax.Array, indices: jax.Array, table: jax.Array
  ) -> jax.Array:
    hard = jax.nn.one_hot(indices, self.codebook_size)
    chosen = gradients.with_gradient_of(hard, soft)
    return gradients.with_gradient_of(table[indices], chosen @ table)
