"""Residual quantization: each level quantizes the error of those before it."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.quantizers import base
from vq_jax.quantizers import gradients
from vq_jax.utils import fields


class ResidualQuantizer(base.Quantizer):
  """Residual quantization (RQ-VAE, https://arxiv.org/abs/2203.01941, 3.1).

  A code is the sum of the codes of G levels, as in SoundStream
  (https://arxiv.org/abs/2107.03312). Level g quantizes the residual
  r_g = z - sg[e_1 + ... + e_{g-1}] with its own clone of the quantizer.

  The losses of the levels are added, as in the paper; the authors'
  implementation (kakaobrain/rq-vae-transformer) takes their mean, and shares
  one codebook among the levels. The gradient of the output is the mean of the
  gradients of the levels' codes, so that with straight-through estimators it
  reaches the latent once and not G times. Statistics are means over the levels
  in use.

  With level dropout, a training batch may use only its first levels. The other
  levels are not updated; their indices are -1, and they contribute neither
  codes nor loss.

  Attributes:
    quantizer: the quantizer that is cloned for each level.
    levels: G, the number of levels.
    level_dropout: probability that a batch does not use all levels. The number
      it uses is then uniform from `min_levels` to G - 1.
    min_levels: the smallest number of levels a batch uses, at least 1.

  Example:
    >>> import jax
    >>> from vq_jax import quantizers
    >>> inner = quantizers.VectorQuantizer(codebook_size=8, code_dim=2)
    >>> quantizer = quantizers.ResidualQuantizer(inner, levels=3)
    >>> z = jax.random.normal(jax.random.key(0), (4, 2))
    >>> quantized, _ = quantizer.init_with_output(jax.random.key(1), z)
    >>> quantized.indices.shape
    (4, 3)
  """

  quantizer: nn.Module
  levels: fields.PositiveInt
  level_dropout: fields.Fraction = 0.0
  min_levels: fields.PositiveInt = 1

  @property
  def codebook_size(self) -> int:
    """K of each level."""
    return self.quantizer.codebook_size

  @property
  def code_dim(self) -> int:
    """D."""
    return self.quantizer.code_dim

  @property
  def index_shape(self) -> tuple[int, ...]:
    """(G,), followed by the index shape of a level."""
    return (self.levels, *self.quantizer.index_shape)

  def setup(self):
    """Clones the quantizer."""
    if self.level_dropout and not 1 <= self.min_levels < self.levels:
      raise ValueError(
        'level_dropout needs 1 <= min_levels < levels; got '
        f'min_levels={self.min_levels} and levels={self.levels}.'
      )
    self.level = [
      self.quantizer.clone(parent=None, name=None) for _ in range(self.levels)
    ]

  def __call__(self, z: jax.Array, *, train: bool = False) -> base.Quantized:
    """Quantizes vectors.

    Args:
      z: float [..., D].
      train: passed to the levels. Level dropout then needs the rng stream
        'code'.
    """
    z = self._check_input(z)
    dropout = train and self.level_dropout > 0 and not self.is_initializing()
    kept = self._sample_levels() if dropout else self.levels
    codes = jnp.zeros_like(z)
    parts = []
    for g, level in enumerate(self.level):
      residual = z - jax.lax.stop_gradient(codes)
      if dropout and g >= self.min_levels:
        part = _train_if(g < kept, level, residual)
      else:
        part = level(residual, train=train)
      codes += part.quantized
      parts.append(part)

    def total(*leaves):
      return sum(leaves[1:], leaves[0])

    divisor = jnp.asarray(kept, jnp.float32)
    loss, stats = jax.tree.map(total, *[(p.loss, p.stats) for p in parts])
    return base.Quantized(
      quantized=gradients.with_gradient_of(codes, codes / divisor),
      indices=jnp.stack([p.indices for p in parts], axis=z.ndim - 1),
      loss=loss,
      stats=jax.tree.map(lambda s: s / divisor, stats),
    )

  def lookup(self, indices: jax.Array) -> jax.Array:
    """Returns the codes, float32 [..., D].

    Args:
      indices: int32 [..., G, *index_shape of a level]. A level contributes
        nothing where its index is -1.
    """
    inner = len(self.quantizer.index_shape)
    axis = indices.ndim - inner - 1
    codes = jnp.zeros((*indices.shape[:axis], self.code_dim), jnp.float32)
    for g, level in enumerate(self.level):
      chosen = jax.lax.index_in_dim(indices, g, axis, keepdims=False)
      used = (chosen >= 0).any(axis=tuple(range(axis, axis + inner)))
      codes += jnp.where(used[..., None], level.lookup(chosen), 0.0)
    return codes

  def _sample_levels(self) -> jax.Array:
    """Samples how many levels this batch uses, int32 []."""
    drop_key, levels_key = jax.random.split(self.make_rng('code'))
    fewer = jax.random.randint(levels_key, (), self.min_levels, self.levels)
    drop = jax.random.bernoulli(drop_key, self.level_dropout)
    return jnp.where(drop, fewer, self.levels)


def _train_if(
  keep: jax.Array | bool, level: nn.Module, z: jax.Array
) -> base.Quantized:
  """Applies a level in training if `keep`; otherwise returns zeros."""
  # A condition on the call, not on its results, because a dropped level must
  # not update its state.
  part = nn.cond(
    keep,
    lambda level, z: level(z, train=True),
    lambda level, z: level(z, train=False),
    level,
    z,
  )

  def masked(x):
    return jnp.where(keep, x, jnp.zeros_like(x))

  return base.Quantized(
    quantized=masked(part.quantized),
    indices=jnp.where(keep, part.indices, -1),
    loss=masked(part.loss),
    stats=jax.tree.map(masked, part.stats),
  )
