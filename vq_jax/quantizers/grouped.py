"""Product quantization: each group of dimensions has its own codebook."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.quantizers import base
from vq_jax.utils import fields


class GroupedQuantizer(base.Quantizer):
  """Splits a vector into G groups of dimensions and quantizes each.

  This is product quantization (Jegou et al. 2011; with learned latents
  https://arxiv.org/abs/1910.05453, 3.4). A code is the concatenation of the
  groups' codes, so that there are K^G codes. Loss and statistics are means over
  the groups.

  Attributes:
    quantizer: quantizer of vectors of width D / G, which is cloned for each
      group.
    groups: G, the number of groups.

  Example:
    >>> import jax
    >>> from vq_jax import quantizers
    >>> inner = quantizers.VectorQuantizer(codebook_size=8, code_dim=2)
    >>> quantizer = quantizers.GroupedQuantizer(inner, groups=3)
    >>> z = jax.random.normal(jax.random.key(0), (4, 6))
    >>> quantized, _ = quantizer.init_with_output(jax.random.key(1), z)
    >>> quantized.indices.shape
    (4, 3)
  """

  quantizer: nn.Module
  groups: fields.PositiveInt

  @property
  def codebook_size(self) -> int:
    """K of each group."""
    return self.quantizer.codebook_size

  @property
  def code_dim(self) -> int:
    """D, the width of a group times G."""
    return self.groups * self.quantizer.code_dim

  @property
  def index_shape(self) -> tuple[int, ...]:
    """(G,), followed by the index shape of a group."""
    return (self.groups, *self.quantizer.index_shape)

  def setup(self):
    """Clones the quantizer."""
    self.group = [
      self.quantizer.clone(parent=None, name=None) for _ in range(self.groups)
    ]

  def __call__(self, z: jax.Array, *, train: bool = False) -> base.Quantized:
    """Quantizes vectors z: float [..., D]; `train` is passed to the groups."""
    z = self._check_input(z)
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
      indices: int32 [..., G, *index_shape of a group].
    """
    axis = indices.ndim - len(self.index_shape)
    return jnp.concatenate(
      [
        group.lookup(jax.lax.index_in_dim(indices, g, axis, keepdims=False))
        for g, group in enumerate(self.group)
      ],
      axis=-1,
    )
