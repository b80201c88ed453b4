"""Vector quantization with a codebook that the gradient trains."""

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


class VectorQuantizer(checked.CheckedModule):
  """The quantizer of VQ-VAE (van den Oord et al. 2017, eq. 1-3).

  Loss: mean (e - sg[z])^2 + commitment_weight * mean (sg[e] - z)^2. The first
  term, the codebook loss, moves the chosen codes to the latents; the second,
  the commitment loss, keeps the latents near their codes. Both are means over
  all elements.

  The table is a parameter, `codebook` [K, D]. K-means and revival cannot move a
  parameter, so with either there is state as well, in the collection
  'codebook': `anchor` [K, D], `cluster_size` [K] and `updates` []. A code is
  then the sum of parameter and anchor: they set the anchor so that the code
  lands where they want it, and the gradient goes on from there.

  Attributes:
    codebook_size: K.
    code_dim: D, the width of a code.
    commitment_weight: weight of the commitment loss.
    legacy: whether `commitment_weight` weighs the codebook loss instead, as in
      the models that taming-transformers released (its `VectorQuantizer2`,
      whose default is `legacy=True`; numbers 46 and 57 on its tracker).
    l2_normalize: whether latents and codes are put onto the unit sphere for
      search, loss and output (ViT-VQGAN, Yu et al. 2022, 3.2). The output's
      gradient passes to the normalised latent, and from there to the latent:
      passed to the latent as it came, it may drive its length up without end,
      as no length brings the output any nearer.
    gradient_estimator: what the latent is told; see `gradients`.
    entropy_weight: weight of the entropy loss, see `entropy`; 0 for none.
    entropy_temperature: T in p = softmax(-|z - e|^2 / T).
    kmeans_iterations: see `EMAVectorQuantizer`.
    dead_code_threshold: see `EMAVectorQuantizer`.
    revive_until_step: see `EMAVectorQuantizer`.
    decay: of the average count by which a code is found dead.
    codebook_init: initializer of the table [K, D]; by default Sonnet's. Those
      of other papers: see `vq_jax.layers.initializers`.
    axis_name: the pmap axis over which statistics are summed; None under jit,
      where the batch is global already.
    param_dtype: dtype of the table.
  """

  codebook_size: fields.PositiveInt
  code_dim: fields.PositiveInt
  commitment_weight: fields.NonNegativeFloat = 0.25
  legacy: bool = False
  l2_normalize: bool = False
  gradient_estimator: Literal['straight_through', 'rotation'] = (
    'straight_through'
  )
  entropy_weight: fields.NonNegativeFloat = 0.0
  entropy_temperature: fields.PositiveFloat = 0.01
  kmeans_iterations: fields.NonNegativeInt | None = None
  dead_code_threshold: fields.NonNegativeFloat = 0.0
  revive_until_step: fields.NonNegativeInt | None = None
  decay: fields.Fraction = 0.99
  codebook_init: nn.initializers.Initializer = initializers.sonnet
  axis_name: str | None = None
  param_dtype: jnp.dtype = jnp.float32

  @property
  def index_shape(self) -> tuple[int, ...]:
    """A vector has one index."""
    return ()

  @property
  def _has_state(self) -> bool:
    return self.kmeans_iterations is not None or self.dead_code_threshold > 0

  def setup(self):
    """Declares the codebook."""
    shape = (self.codebook_size, self.code_dim)
    self.codebook = self.param(
      'codebook', self.codebook_init, shape, self.param_dtype
    )
    if self._has_state:
      self.anchor = self.variable(
        'codebook', 'anchor', jnp.zeros, shape, jnp.float32
      )
      self.cluster_size = self.variable(
        'codebook', 'cluster_size', jnp.ones, shape[:1], jnp.float32
      )
      self.updates = self.variable('codebook', 'updates', jnp.int32, 0)

  def __call__(self, z: jax.Array, *, train: bool = False) -> base.Quantized:
    """Quantizes z: float [..., D]; see `base.Quantized`.

    With k-means or revival, `train` needs the collection 'codebook' mutable and
    the stream 'code'.
    """
    base.check_width(z, self.code_dim, self)
    z = z.astype(jnp.float32)
    point = search.l2_normalize(z) if self.l2_normalize else z
    # An empty batch teaches nothing, and there is no vector to draw from it.
    learn = train and z.size > 0 and not self.is_initializing()
    if learn and self.kmeans_iterations is not None:
      self._initialize(point)
    table = self._table()
    indices = search.nearest(point, table)
    codes = table[indices]
    commitment = base.commitment_loss(point, codes)
    counts = base.code_counts(
      indices, self.codebook_size, axis_name=self.axis_name
    )
    stats = {'commitment_loss': commitment, **base.batch_stats(counts)}
    loss = base.weighed_losses(
      commitment,
      base.codebook_loss(point, codes),
      self.commitment_weight,
      self.legacy,
    )
    if self.entropy_weight:
      stats['entropy_loss'] = entropy.codebook_entropy_loss(
        point, table, self.entropy_temperature, self.axis_name
      )
      loss += self.entropy_weight * stats['entropy_loss']
    if self._has_state:
      stats['revived'] = (
        self._update(point, codes, counts) if learn else jnp.zeros(())
      )
    return base.Quantized(
      quantized=gradients.estimate(self.gradient_estimator, point, codes),
      indices=indices,
      loss=loss,
      stats=jax.lax.stop_gradient(stats),
    )

  def lookup(self, indices: jax.Array) -> jax.Array:
    """Returns the codes, float32 [..., D], of indices int32 [...]."""
    return self._table()[indices]

  def _table(self) -> jax.Array:
    table = jnp.asarray(self.codebook, jnp.float32)
    if self._has_state:
      table += jax.lax.stop_gradient(self.anchor.value)
    return search.l2_normalize(table) if self.l2_normalize else table

  def _anchor_at(self, codes: jax.Array) -> jax.Array:
    parameter = jnp.asarray(self.codebook, jnp.float32)
    return codes - jax.lax.stop_gradient(parameter)

  def _initialize(self, point: jax.Array) -> None:
    """Puts the codebook onto the first batch."""
    rng = self.make_rng('code')
    rows = jax.lax.stop_gradient(point).reshape(-1, self.code_dim)

    def from_batch(_):
      centroids, counts = kmeans.kmeans(
        rng,
        rows,
        self.codebook_size,
        self.kmeans_iterations,
        self.axis_name,
        spherical=self.l2_normalize,
      )
      return self._anchor_at(centroids), jnp.maximum(counts, 1.0)

    self.anchor.value, self.cluster_size.value = jax.lax.cond(
      self.updates.value == 0,
      from_batch,
      lambda kept: kept,
      (self.anchor.value, self.cluster_size.value),
    )

  def _update(
    self, point: jax.Array, codes: jax.Array, counts: jax.Array
  ) -> jax.Array:
    """Keeps count, revives; returns how many codes were revived."""
    size = self.decay * self.cluster_size.value + (1 - self.decay) * counts
    revived = jnp.zeros(())
    if self.dead_code_threshold > 0:
      dead, share = dead_codes.find_dead_codes(
        size,
        counts,
        self.updates.value,
        self.dead_code_threshold,
        self.revive_until_step,
      )
      fresh = dead_codes.replacements(
        self.make_rng('code'), point, codes, self.codebook_size, self.axis_name
      )
      self.anchor.value = jnp.where(
        dead[:, None], self._anchor_at(fresh), self.anchor.value
      )
      size = jnp.where(dead, share, size)
      revived = dead.sum().astype(jnp.float32)
    self.cluster_size.value = size
    self.updates.value += 1
    return revived
