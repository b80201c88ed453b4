"""Finite scalar quantization: rounding, with no codebook to learn."""

import math

import jax
import jax.numpy as jnp

from vq_jax.layers import checked
from vq_jax.quantizers import base
from vq_jax.quantizers import gradients
from vq_jax.utils import fields

# Keeps rounding from reaching a level too many.
_EPSILON = 1e-3


class FSQ(checked.CheckedModule):
  """Each dimension is bounded and rounded to few levels (Mentzer et al. 2023).

  A dimension of L >= 3 levels is bounded by tanh(z + s) (L - 1) / 2 - o and
  rounded, o being 1/2 for even L, else 0, and s such that z = 0 stays at 0; the
  authors' notebook and the paper's listing take s = tan(2 o / (L - 1)), which
  for L >= 4 is close to the inverse tanh that other ports take. Of two levels
  that shift would make all signs alike, so they are the sign of z (-1 at 0),
  with the gradient of tanh.

  Codes are the integers divided by L // 2 (by 1 of two levels), in [-1, 1]. The
  index counts the levels up with the first dimension fastest. There is no loss
  and nothing to train.

  Attributes:
    levels: L of each dimension, at least 2. The paper has, for 2^8 codes
      (8, 6, 5), 2^10 (8, 5, 5, 5), 2^12 (7, 5, 5, 5, 5), 2^14 (8, 8, 8, 6, 5),
      2^16 (8, 8, 8, 5, 5, 5).
    axis_name: the pmap axis over which statistics are summed; None under jit,
      where the batch is global already.
  """

  levels: tuple[fields.PositiveInt, ...]
  axis_name: str | None = None

  @property
  def codebook_size(self) -> int:
    """K, the product of the levels."""
    return math.prod(self.levels)

  @property
  def code_dim(self) -> int:
    """D, as many as there are levels given."""
    return len(self.levels)

  @property
  def index_shape(self) -> tuple[int, ...]:
    """A vector has one index."""
    return ()

  def setup(self):
    """Checks the levels."""
    if not self.levels or min(self.levels) < 2 or self.codebook_size >= 2**31:
      raise ValueError(
        'levels must each be at least 2 and multiply to less than 2^31, for '
        f'indices are int32; got {self.levels}.'
      )

  def __call__(self, z: jax.Array, *, train: bool = False) -> base.Quantized:
    """Quantizes z: float [..., D]; see `base.Quantized`."""
    del train  # nothing to learn
    base.check_width(z, self.code_dim, self)
    bounded = self._bound(z.astype(jnp.float32).reshape(-1, self.code_dim))
    indices = self._to_indices(bounded).reshape(z.shape[:-1])
    counts = base.code_counts(
      indices, self.codebook_size, axis_name=self.axis_name
    )
    through = (bounded / self._row(_half)).reshape(z.shape)
    return base.Quantized(
      quantized=gradients.with_gradient_of(self.lookup(indices), through),
      indices=indices,
      loss=jnp.zeros((), jnp.float32),
      stats=base.batch_stats(counts),
    )

  def lookup(self, indices: jax.Array) -> jax.Array:
    """Returns the codes, float32 [..., D], of indices int32 [...]."""
    levels = self._row(int)
    digits = indices.reshape(-1, 1) // self._places() % levels
    half = levels // 2
    centred = jnp.where(levels == 2, 2 * digits - 1, digits - half)
    codes = centred.astype(jnp.float32) / half.astype(jnp.float32)
    return codes.reshape(*indices.shape, self.code_dim)

  def _row(self, function) -> jax.Array:
    """One number per dimension, [1, D]."""
    return jnp.array([[function(n) for n in self.levels]])

  def _places(self) -> jax.Array:
    """What a digit of each dimension counts, int32 [1, D]."""
    return jnp.array(
      [[math.prod(self.levels[:i]) for i in range(self.code_dim)]]
    )

  def _bound(self, rows: jax.Array) -> jax.Array:
    """Bounds [N, D], so that rounding gives the level."""
    return jnp.tanh(rows + self._row(_shift)) * self._row(_reach) - self._row(
      _offset
    )

  def _to_indices(self, bounded: jax.Array) -> jax.Array:
    """Maps what `_bound` returns to int32 [N]."""
    levels = self._row(int)
    # As integers at once: half precision cannot hold them.
    rounded = jnp.round(bounded).astype(jnp.int32) + levels // 2
    digits = jnp.where(levels == 2, bounded > 0, rounded)
    return jnp.sum(digits * self._places(), axis=-1)


def _half(levels: int) -> float:
  return float(levels // 2)


def _reach(levels: int) -> float:
  """How far from the middle the bound lies."""
  return 1.0 if levels == 2 else (levels - 1) * (1 - _EPSILON) / 2


def _offset(levels: int) -> float:
  """What an even number of levels is off the middle."""
  return 0.5 if levels % 2 == 0 and levels > 2 else 0.0


def _shift(levels: int) -> float:
  return math.tan(_offset(levels) / _reach(levels))
