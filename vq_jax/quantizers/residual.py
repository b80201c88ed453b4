"""Residual quantization: each level quantizes what the ones before left."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.layers import checked
from vq_jax.quantizers import base
from vq_jax.quantizers import gradients
from vq_jax.utils import fields


class ResidualQuantizer(checked.CheckedModule):
  """A code is a sum of G codes (Lee et al. 2022, 3.1; Zeghidour et al. 2021).

  Level g quantizes r_g = z - (e_1 + ... + e_{g-1}) with its own copy of the
  template, the codes before it being constants. The losses of the levels are
  added, as the paper has it, so each reaches the latent (its code,
  kakaobrain/rq-vae-transformer, takes their mean, and one codebook for all
  levels). The output's gradient is the mean of the
  levels': where each passes straight through, so does the whole, rather than G
  times over. The stats are means over the levels that were kept.

  With level dropout a training batch may keep only its first levels. A dropped
  level has index -1 and adds nothing to codes and loss, nor does it learn.

  Attributes:
    quantizer: template; each level has a clone of it.
    levels: G.
    level_dropout: how likely a batch loses levels. How many it keeps is then
      drawn evenly from `min_levels` to G - 1, once per batch.
    min_levels: the fewest levels kept, at least 1.
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
    """A vector has an index for each level."""
    return (self.levels, *self.quantizer.index_shape)

  def setup(self):
    """Clones the template."""
    if self.level_dropout and not 1 <= self.min_levels < self.levels:
      raise ValueError(
        'level dropout needs 1 <= min_levels < levels; got '
        f'min_levels={self.min_levels} and levels={self.levels}.'
      )
    self.level = [
      self.quantizer.clone(parent=None, name=None) for _ in range(self.levels)
    ]

  def __call__(self, z: jax.Array, *, train: bool = False) -> base.Quantized:
    """Quantizes z: float [..., D]; see `base.Quantized`.

    With `train`, level dropout draws from the stream 'code'.
    """
    base.check_width(z, self.code_dim, self)
    z = z.astype(jnp.float32)
    drops = train and self.level_dropout > 0 and not self.is_initializing()
    kept = self._draw_levels() if drops else self.levels
    codes = jnp.zeros_like(z)
    parts = []
    for g, level in enumerate(self.level):
      rest = z - jax.lax.stop_gradient(codes)
      # The first levels are never dropped.
      sure = not drops or g < self.min_levels
      part = (
        level(rest, train=train) if sure else _droppable(level, rest, g < kept)
      )
      codes += part.quantized
      parts.append(part)

    def total(*leaves):
      return sum(leaves[1:], leaves[0])

    loss, stats = jax.tree.map(total, *[(p.loss, p.stats) for p in parts])
    return base.Quantized(
      quantized=gradients.with_gradient_of(codes, codes / kept),
      indices=jnp.stack([p.indices for p in parts], axis=z.ndim - 1),
      loss=loss,
      stats=jax.tree.map(lambda s: s / kept, stats),
    )

  def lookup(self, indices: jax.Array) -> jax.Array:
    """Returns the codes, float32 [..., D].

    Args:
      indices: int32 [..., G, *index_shape of the template]; at -1 a level adds
        nothing.
    """
    inner = len(self.quantizer.index_shape)
    axis = indices.ndim - inner - 1
    codes = jnp.zeros((*indices.shape[:axis], self.code_dim), jnp.float32)
    for g, level in enumerate(self.level):
      chosen = jax.lax.index_in_dim(indices, g, axis, keepdims=False)
      some = (chosen >= 0).any(axis=tuple(range(axis, axis + inner)))
      codes += jnp.where(some[..., None], level.lookup(chosen), 0.0)
    return codes

  def _draw_levels(self) -> jax.Array:
    """Returns how many levels this batch keeps, int32 []."""
    whether, how_many = jax.random.split(self.make_rng('code'))
    fewer = jax.random.randint(how_many, (), self.min_levels, self.levels)
    drop = jax.random.bernoulli(whether, self.level_dropout)
    return jnp.where(drop, fewer, self.levels)


def _droppable(level: nn.Module, z: jax.Array, keep: jax.Array):
  """Trains a level if `keep`; else it learns nothing and yields nothing."""
  # A condition rather than a choice between results: the state of a dropped
  # level, however deep, then stays as it is.
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
