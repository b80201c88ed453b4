"""The common part of the quantizers that choose the nearest code.

`VectorQuantizer` trains the codebook by gradient descent, `EMAVectorQuantizer`
by moving averages. Both can initialise it by k-means and revive dead codes.
"""

from collections.abc import Mapping
from typing import Any
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.layers import initializers
from vq_jax.layers import normalization
from vq_jax.quantizers import base
from vq_jax.quantizers import dead_codes
from vq_jax.quantizers import entropy
from vq_jax.quantizers import gradients
from vq_jax.quantizers import kmeans
from vq_jax.quantizers import nearest as search
from vq_jax.utils import fields

Tree = Mapping[str, Any]


class CodebookQuantizer(base.Quantizer):
  """The base class of `VectorQuantizer` and `EMAVectorQuantizer`.

  Attributes:
    codebook_size: K, the number of codes.
    code_dim: D, the width of a code.
    commitment_weight: weight of the commitment loss, mean (z - sg[e])^2.
    l2_normalize: whether latents and codes are normalised to unit length for
      search, loss and output (ViT-VQGAN, https://arxiv.org/abs/2110.04627,
      3.2). The gradient of the output also passes through the normalisation of
      the latent; without it the length of the latent may grow without bound,
      because no length brings the latent nearer to its code.
    gradient_estimator: how the gradient of the output passes to the latent;
      see `vq_jax.quantizers.gradients`.
    entropy_weight: weight of the entropy loss; see
      `vq_jax.quantizers.entropy`. With 0 it is not computed.
    entropy_temperature: T in p = softmax(-|z - e|^2 / T) of the entropy loss.
    kmeans_iterations: the first training batch initialises the codebook by
      k-means with this many iterations (SoundStream,
      https://arxiv.org/abs/2107.03312, 3.3); None keeps `codebook_init`.
    dead_code_threshold: a code that the batch did not choose is dead if its
      moving average count is below this fraction of the mean count (vectors per
      batch / K). It is replaced by a latent of the batch; see
      `vq_jax.quantizers.dead_codes`. With 0 no code is replaced.
    revive_until_step: dead codes are replaced in this many training steps and
      not thereafter, so that the codebook can settle; None for all steps.
    decay: decay of the moving averages.
    codebook_init: initializer of the codebook [K, D]. The default is Sonnet's;
      `vq_jax.layers.initializers` has those of other papers.
    axis_name: name of the pmap axis over which statistics are summed; None
      under jit, where arrays hold the global batch.
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
  kmeans_iterations: fields.NonNegativeInt | None = None
  dead_code_threshold: fields.NonNegativeFloat = 0.0
  revive_until_step: fields.NonNegativeInt | None = None
  decay: fields.Fraction = 0.99
  codebook_init: nn.initializers.Initializer = initializers.sonnet
  axis_name: str | None = None

  def __call__(self, z: jax.Array, *, train: bool = False) -> base.Quantized:
    """Quantizes vectors.

    Args:
      z: float [..., D].
      train: whether the state in the collection 'codebook' is updated. It must
        then be mutable, and k-means and dead-code revival need the rng stream
        'code'.
    """
    z = self._check_input(z)
    if self.l2_normalize:
      z = normalization.l2_normalize(z)
    # An empty batch has no statistics and no vectors to sample.
    update = train and z.size > 0 and not self.is_initializing()
    if update and self.kmeans_iterations is not None:
      self._initialize_by_kmeans(z)
    codebook = self._codebook()
    indices = search.nearest(z, codebook)
    codes = codebook[indices]
    loss = self._loss(z, codes)
    stats = {
      'commitment_loss': base.commitment_loss(z, codes),
      **base.batch_stats(indices, self.codebook_size, self.axis_name),
    }
    if self.entropy_weight:
      stats['entropy_loss'] = entropy.codebook_entropy_loss(
        z, codebook, self.entropy_temperature, self.axis_name
      )
      loss += self.entropy_weight * stats['entropy_loss']
    if self.dead_code_threshold:
      stats['revived'] = jnp.zeros(())
    if update:
      stats |= self._update(jax.lax.stop_gradient(z), indices, codes)
    return base.Quantized(
      quantized=gradients.estimate(self.gradient_estimator, z, codes),
      indices=indices,
      loss=loss,
      stats=jax.lax.stop_gradient(stats),
    )

  def lookup(self, indices: jax.Array) -> jax.Array:
    """Returns the codes, float32 [..., D], of indices int32 [...]."""
    return self._codebook()[indices]

  def _codebook(self) -> jax.Array:
    """Returns the codes, float32 [K, D]."""
    raise NotImplementedError

  def _loss(self, z: jax.Array, codes: jax.Array) -> jax.Array:
    """Returns the loss of latents and their codes, without the entropy."""
    raise NotImplementedError

  def _replace_codes(
    self, replaced: jax.Array, codes: jax.Array, counts: jax.Array
  ) -> None:
    """Replaces codes, and their average counts.

    Args:
      replaced: bool [K], which codes.
      codes: float32 [K, D], the new codes.
      counts: float32 [K], their average counts.
    """
    raise NotImplementedError

  def _update(
    self, z: jax.Array, indices: jax.Array, codes: jax.Array
  ) -> dict[str, jax.Array]:
    """Updates the state by a batch, and returns additional statistics."""
    raise NotImplementedError

  def _initialize_by_kmeans(self, z: jax.Array) -> None:
    """Replaces all codes by k-means centroids in the first training step."""
    rows = jax.lax.stop_gradient(z).reshape(-1, self.code_dim)
    rng = self.make_rng('code')
    is_first = self.updates.value == 0

    def centroids_and_counts():
      return kmeans.kmeans(
        rng,
        rows,
        self.codebook_size,
        self.kmeans_iterations,
        self.axis_name,
        spherical=self.l2_normalize,
      )

    centroids, counts = jax.lax.cond(
      is_first,
      centroids_and_counts,
      lambda: jax.tree.map(
        lambda x: jnp.zeros(x.shape, x.dtype),
        jax.eval_shape(centroids_and_counts),
      ),
    )
    replaced = jnp.broadcast_to(is_first, counts.shape)
    self._replace_codes(replaced, centroids, jnp.maximum(counts, 1.0))

  def _revive_dead_codes(
    self, z: jax.Array, codes: jax.Array, counts: jax.Array
  ) -> dict[str, jax.Array]:
    """Replaces dead codes, and returns their number.

    Args:
      z: float32 [..., D], the latents.
      codes: float32 [..., D], their codes.
      counts: float32 [K], how often the batch chose each code.
    """
    if not self.dead_code_threshold:
      return {}
    dead, mean_count = dead_codes.find_dead_codes(
      self.cluster_size.value,
      counts,
      self.updates.value,
      self.dead_code_threshold,
      self.revive_until_step,
    )
    replacements = dead_codes.sample_replacements(
      self.make_rng('code'), z, codes, self.codebook_size, self.axis_name
    )
    self._replace_codes(dead, replacements, jnp.full(dead.shape, mean_count))
    return {'revived': dead.sum().astype(jnp.float32)}


def apply_replacements(params: Tree, state: Tree) -> tuple[Tree, Tree]:
  """Writes replaced codes into the parameters, after an optimizer's update.

  A module cannot change its parameters. A `VectorQuantizer` with k-means
  initialisation or dead-code revival therefore records in the collection
  'codebook' which rows of its codebook are replaced (`replaced`, bool [K]) and
  by what (`replacement`, [K, D]), and quantizes with these rows until this
  function has moved them to `params`. Moments of the optimizer are kept.

  Args:
    params: the collection 'params' of a quantizer, or of a module that
      contains quantizers.
    state: the collection 'codebook' of the same module.

  Returns:
    `params` with the replaced rows, and `state` without replacements.

  Example:
    >>> import jax
    >>> from vq_jax import quantizers
    >>> quantizer = quantizers.VectorQuantizer(8, 2, kmeans_iterations=4)
    >>> z = jax.random.normal(jax.random.key(0), (64, 2))
    >>> variables = quantizer.init(jax.random.key(1), z)
    >>> _, updated = quantizer.apply(
    ...   variables,
    ...   z,
    ...   train=True,
    ...   mutable=['codebook'],
    ...   rngs={'code': jax.random.key(2)},
    ... )
    >>> params, state = quantizers.apply_replacements(
    ...   variables['params'], updated['codebook']
    ... )
    >>> bool((params['codebook'] == state['replacement']).all())
    True
  """
  if 'replaced' in state:
    replaced, replacement = state['replaced'], state['replacement']
    codebook = jnp.where(
      replaced[..., None],
      replacement.astype(params['codebook'].dtype),
      params['codebook'],
    )
    params = {**params, 'codebook': codebook}
    return params, {**state, 'replaced': jnp.zeros_like(replaced)}
  params, state = dict(params), dict(state)
  for name, child in state.items():
    if name in params and isinstance(child, Mapping):
      params[name], state[name] = apply_replacements(params[name], child)
  return params, state
