"""Vector quantization with a codebook of exponential moving averages."""

import jax
import jax.numpy as jnp

from vq_jax.layers import normalization
from vq_jax.quantizers import base
from vq_jax.quantizers import codebook
from vq_jax.quantizers import kmeans


class EMAVectorQuantizer(codebook.CodebookQuantizer):
  """VQ-VAE's quantizer with moving averages in place of the codebook loss.

  Each code follows the mean of the latents that choose it
  (https://arxiv.org/abs/1711.00937, appendix A.1). If n_k latents of sum s_k
  chose code k in this batch,

    N_k <- decay N_k + (1 - decay) n_k
    S_k <- decay S_k + (1 - decay) s_k
    e_k <- S_k / N_k

  The batch is quantized with the codebook from before its own update. Unlike in
  Sonnet's implementation, a code that no latent chose keeps its value: without
  Laplace smoothing it does not drift to the origin, and no average that has
  decayed to zero is divided by. N is initialised to 1 and S to the codebook.

  The state is in the collection 'codebook': `codebook` [K, D], `cluster_size`
  [K] (N), `cluster_sum` [K, D] (S) and `updates` []. Only calls with
  `train=True` change it. The loss is the commitment loss. If `l2_normalize` is
  set, a code is S_k / |S_k| (spherical k-means). The entropy loss trains the
  latents but not the codes.

  The attributes are those of
  `vq_jax.quantizers.codebook.CodebookQuantizer`.

  Example:
    >>> import jax
    >>> from vq_jax import quantizers
    >>> quantizer = quantizers.EMAVectorQuantizer(codebook_size=8, code_dim=2)
    >>> z = jax.random.normal(jax.random.key(0), (4, 4, 2))
    >>> variables = quantizer.init(jax.random.key(1), z)
    >>> quantized, updated = quantizer.apply(
    ...   variables, z, train=True, mutable=['codebook']
    ... )
    >>> int(updated['codebook']['updates'])
    1
  """

  def setup(self):
    """Declares the codebook and its averages."""
    shape = (self.codebook_size, self.code_dim)

    def init():
      codes = self.codebook_init(self.make_rng('params'), shape, jnp.float32)
      return normalization.l2_normalize(codes) if self.l2_normalize else codes

    self.codebook = self.variable('codebook', 'codebook', init)
    self.cluster_size = self.variable(
      'codebook', 'cluster_size', jnp.ones, shape[:1], jnp.float32
    )
    self.cluster_sum = self.variable(
      'codebook', 'cluster_sum', lambda: jnp.copy(self.codebook.value)
    )
    self.updates = self.variable('codebook', 'updates', jnp.int32, 0)

  def _codebook(self) -> jax.Array:
    return jax.lax.stop_gradient(jnp.asarray(self.codebook.value))

  def _loss(self, z: jax.Array, codes: jax.Array) -> jax.Array:
    return self.commitment_weight * base.commitment_loss(z, codes)

  def _replace_codes(
    self, replaced: jax.Array, codes: jax.Array, counts: jax.Array
  ) -> None:
    def replace(variable, new):
      rows = replaced.reshape(-1, *(1,) * (new.ndim - 1))
      variable.value = jnp.where(rows, new, variable.value)

    replace(self.codebook, codes)
    replace(self.cluster_size, counts)
    replace(self.cluster_sum, codes * counts[:, None])

  def _update(
    self, z: jax.Array, indices: jax.Array, codes: jax.Array
  ) -> dict[str, jax.Array]:
    counts, sums = kmeans.cluster_sums(
      z.reshape(-1, self.code_dim),
      indices.reshape(-1),
      self.codebook_size,
      self.axis_name,
    )
    size, total = (
      self.decay * average.value + (1 - self.decay) * new
      for average, new in [
        (self.cluster_size, counts),
        (self.cluster_sum, sums),
      ]
    )
    means = kmeans.mean_codes(
      total, size, self.codebook.value, self.l2_normalize
    )
    self.codebook.value = jnp.where(
      counts[:, None] > 0, means, self.codebook.value
    )
    self.cluster_size.value, self.cluster_sum.value = size, total
    stats = self._revive_dead_codes(z, codes, counts)
    self.updates.value += 1
    return stats
