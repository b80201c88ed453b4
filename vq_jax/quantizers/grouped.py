"""Product quantization: groups of dimensions, each with its own codebook."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.layers import checked
from vq_jax.quantizers import base
from vq_jax.utils import fields


class GroupedQuantizer(checked.CheckedModule):
  """Splits a vector into G parts and quantizes each (Jegou et al. 2011).

  The code is the parts' codes in a row, so there are K^G. Loss and stats are
  means over the groups.

  Attributes:
    quantizer: template of width D / G; each group has a clone of it.
    groups: G.
  """

  quantizer: nn.Module
  groups: fields.PositiveInt

  @property
  def codebook_size(self) -> int:
    """K of each group."""
    return self.quantizer.codebook_size

  @property
  def code_dim(self) -> int:
    """D, that of the template times G."""
    return self.groups * self.quantizer.code_dim

  @property
  def index_shape(self) -> tuple[int, ...]:
    """A vector has an index for each group."""
    return (self.groups, *self.quantizer.index_shape)

  def setup(self):
    """Clones the template."""
    self.group = [
      self.quantizer.clone(parent=None, name=None) for _ in range(self.groups)
    ]

  def __call__(self, z: jax.Array, *, train: bool = False) -> base.Quantized:
    """Quantizes z: float [..., D]; see `base.Quantized`."""
    base.check_width(z, self.code_dim, self)
    split = jnp.split(z, self.groups, axis=-1)
    parts = [
      group(x, train=train) for group, x in zip(self.group, split, strict=True)
    ]

    def mean(*leaves):
      return sum(leaves[1:], leaves[0]) / self.groups

    loss, stats = jax.tree.map(mean, *[(p.loss, p.stats) for p in parts])
    return base.Quantized(
      quantized=jnp.concatenate([p.quantized for p in parts], axis=-1),
      indices=jnp.stack([p.indices for p in parts], axis=z.ndim - 1),
      loss=loss,
      stats=stats,
    )

  def lookup(self, indices: jax.Array) -> jax.Array:
    """Returns the codes, float32 [..., D].

    Args:
      indices: int32 [..., G, *index_shape of the template].
    """
    axis = indices.ndim - len(self.index_shape)
    return jnp.concatenate(
      [
        group.lookup(jax.lax.index_in_dim(indices, g, axis, keepdims=False))
        for g, group in enumerate(self.group)
      ],
      axis=-1,
    )
