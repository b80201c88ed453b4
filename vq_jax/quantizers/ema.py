"""Vector quantization with a codebook of moving averages."""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.layers import checked
from vq_jax.layers import initializers
from vq_jax.quantizers import base
from vq_jax.quantizers import dead_codes
from vq_jax.quantizers import entropy
from vq_jax.quantizers import gradients
from vq_jax.quantizers import kmeans
from vq_jax.quantizers import nearest as search
from vq_jax.utils import fields


class EMAVectorQuantizer(checked.CheckedModule):
  """Each code follows the mean of the latents that chose it.

  The update is online k-means (van den Oord et al. 2017, appendix A.1): with
  n_k latents of sum s_k at code k in this batch,

    N_k <- g N_k + (1 - g) n_k,   S_k <- g S_k + (1 - g) s_k,   e_k = S_k / N_k

  This batch is quantized with the codebook from before its own update. A code
  that no latent chose stays exactly where it is: there is neither the
  smoothing by which an unused code slides to the origin nor a division by an
  average that has decayed to nothing, by which it explodes. N starts at 1 and
  S at the codebook, so that the first batch already moves the codes.

  State, in the collection 'codebook': `codebook` [K, D], `cluster_size` [K],
  `cluster_sum` [K, D], `updates` []. It changes only when `train` is True.

  Attributes:
    codebook_size: K.
    code_dim: D.
    commitment_weight: weight of the commitment loss, mean (sg[e] - z)^2.
    l2_normalize: whether latents and codes are put onto the unit sphere, as in
      `VectorQuantizer`; each code then is the direction of S_k (spherical
      k-means).
    gradient_estimator: what the latent is told; see `gradients`.
    entropy_weight: weight of the entropy loss, see `entropy`; 0 for none. It
      moves the latents alone.
    entropy_temperature: T in p = softmax(-|z - e|^2 / T).
    decay: g.
    kmeans_iterations: if set, the first training batch initialises the
      codebook: vectors drawn from it, improved by so many rounds of k-means.
    dead_code_threshold: a code whose average count N_k falls under this
      fraction of its fair share (vectors per batch / K), and that this batch
      did not choose, is put onto a latent of the batch, one that its code
      serves badly. 0 never revives.
    revive_until_step: no revival after so many updates, so that the codes can
      settle; None for no end.
    codebook_init: see `VectorQuantizer`.
    axis_name: the pmap axis over which the statistics are summed; None under
      jit, where the batch is global already.
  """

  codebook_size: fields.PositiveInt
  code_dim: fields.PositiveInt
  commitment_weight: fields.NonNegativeFloat = 0.25
  l2_normalize: bool = False
  gradient_estimator: Literal['straight_through', 'rotation'] = (
    'straight_through'
  )
  entropy_weight: fields.NonNegativeFloat = 0.0
  entropy_temperature: fields.PositiveFloat = 0.01
  decay: fields.Fraction = 0.99
  kmeans_iterations: fields.NonNegativeInt | None = None
  dead_code_threshold: fields.NonNegativeFloat = 0.0
  revive_until_step: fields.NonNegativeInt | None = None
  codebook_init: nn.initializers.Initializer = initializers.sonnet
  axis_name: str | None = None

  @property
  def index_shape(self) -> tuple[int, ...]:
    """A vector has one index."""
    return ()

  def setup(self):
    """Declares the codebook."""
    shape = (self.codebook_size, self.code_dim)

    def table():
      codes = self.codebook_init(self.make_rng('params'), shape, jnp.float32)
      return search.l2_normalize(codes) if self.l2_normalize else codes

    self.codebook = self.variable('codebook', 'codebook', table)
    self.cluster_size = self.variable(
      'codebook', 'cluster_size', jnp.ones, shape[:1], jnp.float32
    )
    self.cluster_sum = self.variable(
      'codebook', 'cluster_sum', lambda: jnp.copy(self.codebook.value)
    )
    self.updates = self.variable('codebook', 'updates', jnp.int32, 0)

  def __call__(self, z: jax.Array, *, train: bool = False) -> base.Quantized:
    """Quantizes z: float [..., D]; see `base.Quantized`.

    With `train` the collection 'codebook' must be mutable; revival and
    k-means draw from the stream 'code'.
    """
    base.check_width(z, self.code_dim, self)
    z = z.astype(jnp.float32)
    point = search.l2_normalize(z) if self.l2_normalize else z
    # An empty batch teaches nothing, and there is no vector to draw from it.
    learn = train and z.size > 0 and not self.is_initializing()
    if learn and self.kmeans_iterations is not None:
      self._initialize(point)
    table = jax.lax.stop_gradient(self.codebook.value)
    indices = search.nearest(point, table)
    codes = table[indices]
    commitment = base.commitment_loss(point, codes)
    counts = base.code_counts(
      indices, self.codebook_size, axis_name=self.axis_name
    )
    stats = {'commitment_loss': commitment, **base.batch_stats(counts)}
    loss = self.commitment_weight * commitment
    if self.entropy_weight:
      stats['entropy_loss'] = entropy.codebook_entropy_loss(
        point, table, self.entropy_temperature, self.axis_name
      )
      loss += self.entropy_weight * stats['entropy_loss']
    stats['revived'] = (
      self._update(point, indices, codes) if learn else jnp.zeros(())
    )
    return base.Quantized(
      quantized=gradients.estimate(self.gradient_estimator, point, codes),
      indices=indices,
      loss=loss,
      stats=jax.lax.stop_gradient(stats),
    )

  def lookup(self, indices: jax.Array) -> jax.Array:
    """Returns the codes, float32 [..., D], of indices int32 [...]."""
    return jnp.asarray(self.codebook.value)[indices]

  def _rows(self, point: jax.Array) -> jax.Array:
    return jax.lax.stop_gradient(point).reshape(-1, self.code_dim)

  def _initialize(self, point: jax.Array) -> None:
    """Puts the codebook onto the first batch."""
    rng = self.make_rng('code')

    def from_batch(_):
      centroids, counts = kmeans.kmeans(
        rng,
        self._rows(point),
        self.codebook_size,
        self.kmeans_iterations,
        self.axis_name,
        spherical=self.l2_normalize,
      )
      size = jnp.maximum(counts, 1.0)
      return centroids, size, centroids * size[:, None]

    state = (self.codebook, self.cluster_size, self.cluster_sum)
    values = jax.lax.cond(
      self.updates.value == 0,
      from_batch,
      lambda kept: kept,
      tuple(v.value for v in state),
    )
    for variable, value in zip(state, values, strict=True):
      variable.value = value

  def _update(
    self, point: jax.Array, indices: jax.Array, codes: jax.Array
  ) -> jax.Array:
    """Moves the averages; returns how many codes were revived."""
    rows = self._rows(point)
    counts, sums = kmeans.cluster_sums(
      rows, indices.reshape(-1), self.codebook_size, self.axis_name
    )
    size = self.decay * self.cluster_size.value + (1 - self.decay) * counts
    total = self.decay * self.cluster_sum.value + (1 - self.decay) * sums
    moved = kmeans.mean_codes(
      total, size, self.codebook.value, self.l2_normalize
    )
    codebook = jnp.where(counts[:, None] > 0, moved, self.codebook.value)
    dead = jnp.zeros(self.codebook_size, bool)
    if self.dead_code_threshold > 0:
      dead, share = dead_codes.find_dead_codes(
        size,
        counts,
        self.updates.value,
        self.dead_code_threshold,
        self.revive_until_step,
      )
      fresh = dead_codes.replacements(
        self.make_rng('code'), rows, codes, self.codebook_size, self.axis_name
      )
      codebook = jnp.where(dead[:, None], fresh, codebook)
      size = jnp.where(dead, share, size)
      total = jnp.where(dead[:, None], fresh * share, total)
    self.codebook.value = codebook
    self.cluster_size.value = size
    self.cluster_sum.value = total
    self.updates.value += 1
    return dead.sum().astype(jnp.float32)
