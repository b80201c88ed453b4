"""Finite scalar quantization: each dimension is rounded to few levels."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from vq_jax.quantizers import base
from vq_jax.quantizers import gradients
from vq_jax.utils import fields

# The bound is reduced by this fraction, so that rounding stays within L levels.
_EPSILON = 1e-3


class FSQ(base.Quantizer):
  """Finite scalar quantization (https://arxiv.org/abs/2309.15505).

  A dimension with L >= 3 levels is bounded and rounded,

    round(tanh(z + s) (L - 1) / 2 - o),

  where o is 1/2 for even L and 0 for odd L, and the shift s keeps z = 0 at 0.
  As in the authors' notebook, s = tan(2 o / (L - 1)); for L >= 4 that is close
  to the inverse of tanh that other implementations use. With L = 2 this shift
  would give all values the same sign. Two levels are therefore the sign of z
  (-1 at 0), with the gradient of tanh.

  Codes are these integers divided by L // 2, in [-1, 1]. In the index the first
  dimension varies fastest. There is no loss, no parameter and no state.

  Attributes:
    levels: L of each dimension, at least 2. The paper uses (8, 6, 5) for 2^8
      codes, (8, 5, 5, 5) for 2^10, (7, 5, 5, 5, 5) for 2^12, (8, 8, 8, 6, 5)
      for 2^14 and (8, 8, 8, 5, 5, 5) for 2^16.
    axis_name: name of the pmap axis over which statistics are summed; None
      under jit, where arrays hold the global batch.

  Example:
    >>> import jax
    >>> from vq_jax import quantizers
    >>> quantizer = quantizers.FSQ(levels=(8, 6, 5))
    >>> z = jax.random.normal(jax.random.key(0), (4, 3))
    >>> quantized, _ = quantizer.init_with_output(jax.random.key(1), z)
    >>> quantized.indices.shape
    (4,)
  """

  levels: tuple[fields.PositiveInt, ...]
  axis_name: str | None = None

  @property
  def codebook_size(self) -> int:
    """K, the product of the levels."""
    return math.prod(self.levels)

  @property
  def code_dim(self) -> int:
    """D, the number of dimensions."""
    return len(self.levels)

  def setup(self):
    """Checks `levels`."""
    if not self.levels or min(self.levels) < 2 or self.codebook_size >= 2**31:
      raise ValueError(
        'each of levels must be at least 2 and their product less than 2^31, '
        f'because indices are int32; got {self.levels}.'
      )

  def __call__(self, z: jax.Array, *, train: bool = False) -> base.Quantized:
    """Quantizes vectors z: float [..., D]; `train` changes nothing."""
    del train
    z = self._check_input(z)
    bounded = self._bound(z.reshape(-1, self.code_dim))
    indices = self._to_indices(bounded).reshape(z.shape[:-1])
    surrogate = (bounded / self._row(_half)).reshape(z.shape)
    return base.Quantized(
      quantized=gradients.with_gradient_of(self.lookup(indices), surrogate),
      indices=indices,
      loss=jnp.zeros((), jnp.float32),
      stats=base.batch_stats(indices, self.codebook_size, self.axis_name),
    )

  def lookup(self, indices: jax.Array) -> jax.Array:
    """Returns the codes, float32 [..., D], of indices int32 [...]."""
    levels = self._row(int)
    digits = indices.reshape(-1, 1) // self._strides() % levels
    half = levels // 2
    centred = jnp.where(levels == 2, 2 * digits - 1, digits - half)
    codes = centred.astype(jnp.float32) / half.astype(jnp.float32)
    return codes.reshape(*indices.shape, self.code_dim)

  def _row(self, function: Callable[[int], float]) -> jax.Array:
    """Returns `function` of each dimension's number of levels, [1, D]."""
    return jnp.array([[function(n) for n in self.levels]])

  def _strides(self) -> jax.Array:
    """Returns the stride of each dimension in the index, int32 [1, D]."""
    return jnp.array(
      [[math.prod(self.levels[:i]) for i in range(self.code_dim)]]
    )

  def _bound(self, rows: jax.Array) -> jax.Array:
    """Bounds [N, D], so that rounding gives the integer code."""
    scaled = jnp.tanh(rows + self._row(_shift)) * self._row(_bound_of)
    return scaled - self._row(_offset)

  def _to_indices(self, bounded: jax.Array) -> jax.Array:
    """Maps what `_bound` returns to int32 [N]."""
    levels = self._row(int)
    # Half precision could not represent the index.
    rounded = jnp.round(bounded).astype(jnp.int32) + levels // 2
    signs = (bounded > 0).astype(jnp.int32)
    digits = jnp.where(levels == 2, signs, rounded)
    return jnp.sum(digits * self._strides(), axis=-1)


def _half(levels: int) -> float:
  return float(levels // 2)


def _bound_of(levels: int) -> float:
  """Returns (L - 1) / 2, the largest value before the offset is subtracted."""
  return 1.0 if levels == 2 else (levels - 1) * (1 - _EPSILON) / 2


def _offset(levels: int) -> float:
  """Returns o, by which an even number of levels is off the centre."""
  return 0.5 if levels % 2 == 0 and levels > 2 else 0.0


def _shift(levels: int) -> float:
  return math.tan(_offset(levels) / _bound_of(levels))
