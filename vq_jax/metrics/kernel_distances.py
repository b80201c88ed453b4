"""Maximum mean discrepancies (MMD) between two sets of features."""

import jax
import jax.numpy as jnp
import numpy as np

from vq_jax.metrics import device_blocks
from vq_jax.metrics import estimates
from vq_jax.metrics import rows as rows_lib
from vq_jax.utils import fields

_SIGMA, _SCALE = 10.0, 1000.0  # of CMMD
_GAMMA = 1 / (2 * _SIGMA**2)
# Up to this length, float32 is precise enough for the remainder of a kernel.
_LONGEST = 1.1


@fields.checked
def kid(
  a: rows_lib.Rows,
  b: rows_lib.Rows,
  *,
  subsets: fields.PositiveInt = 100,
  subset_size: fields.PositiveInt | None = None,
  seed: fields.Seed = 0,
) -> estimates.Estimate:
  """Returns the Kernel Inception Distance (Binkowski et al. 2018).

  It is the unbiased estimate of the squared MMD with the kernel
  (x . y / D + 1)^3, averaged over random subsets of both sets. It may be
  negative. https://arxiv.org/abs/1801.01401.

  With the same seed and subsets it is the number of torch-fidelity; clean-fid
  computes the same formula on its own random subsets.

  It is computed on the host: the difference of kernels needs float64, and the
  6 size^2 D operations of a subset do not grow with the number of images, so
  that all 100 take seconds.

  Args:
    a: features float [n, D].
    b: features float [m, D].
    subsets: number of subsets. There is one if it contains both sets entirely.
    subset_size: number of vectors of a subset, at least 2; by default 1000, or
      the size of the smaller set.
    seed: seed of the subsets.

  Returns:
    the distance, and its deviation over the subsets. Subsets overlap, so for
    sets that are hardly larger than a subset, the deviation is too small.

  Raises:
    ValueError: if a set is smaller than a subset, or the widths differ.

  Example:
    >>> import numpy as np
    >>> from vq_jax import metrics
    >>> a = np.random.default_rng(0).normal(size=(200, 4))
    >>> found = metrics.kid(a, a + 1, subset_size=100)
    >>> found.value > 10 * found.standard_error
    True
  """
  least = 2 if subset_size is None else subset_size
  if least < 2:
    raise ValueError(f'subset_size must be at least 2; got {subset_size}.')
  rows_lib.check_pair(a, b, least=least)
  size = subset_size or min(1000, len(a), len(b))
  if size == len(a) == len(b):
    subsets = 1
  rng = np.random.RandomState(seed)
  values = []
  for _ in range(subsets):
    x = rows_lib.to_float64(a[rng.choice(len(a), size, replace=False)])
    y = rows_lib.to_float64(b[rng.choice(len(b), size, replace=False)])
    values.append(_unbiased_mmd(x, y))
  return estimates.of_parts(np.array(values))


def _unbiased_mmd(x: np.ndarray, y: np.ndarray) -> float:
  """Returns the unbiased estimate for subsets of one size."""
  size, width = x.shape

  def kernel(a, b):
    base = a @ b.T / width + 1
    return base * base * base  # a power would take ten times as long

  xx, yy = kernel(x, x), kernel(y, y)
  within = xx.sum() - np.trace(xx) + yy.sum() - np.trace(yy)
  return within / (size * (size - 1)) - 2 * kernel(x, y).mean()


@fields.checked
def cmmd(
  a: rows_lib.Rows,
  b: rows_lib.Rows,
  *,
  chunk_size: fields.PositiveInt = rows_lib.CHUNK,
) -> float:
  """Returns the CMMD of embeddings of CLIP (Jayasumana et al. 2024).

  It is 1000 times the squared MMD with the Gaussian kernel
  exp(-|x - y|^2 / (2 sigma^2)), sigma = 10, where the means contain the pairs
  of each vector with itself. https://arxiv.org/abs/2401.09603.

  For vectors of length 1, the terms of the kernel of the orders 0, 1 and 2 in
  x . y are computed in float64 from the means of w, w x and w x x^T, where w is
  exp(-|x|^2 / (2 sigma^2)), in 2 n D^2 operations. What remains of a kernel is
  less than 2e-7, and float32 gives the n^2 D operations of it on the default
  device. Longer vectors are compared in float64 on the host.

  Args:
    a: embeddings float [n, D]. Those of CLIP have length 1.
    b: embeddings float [m, D].
    chunk_size: number of rows that are kept in memory.

  Returns:
    the distance, at least 0.

  Raises:
    ValueError: if a set is empty, or the widths differ.

  Example:
    >>> import numpy as np
    >>> from vq_jax import metrics
    >>> metrics.cmmd(np.ones((3, 2)), np.ones((4, 2)))
    0.0
  """
  rows_lib.check_pair(a, b)
  mean = _mean_gaussian_kernel
  total = 0.0
  if max(_longest(a, chunk_size), _longest(b, chunk_size)) <= _LONGEST:
    mean = _mean_remainder
    total = _mmd_of_low_orders(a, b, chunk_size)
  total += mean(a, a, chunk_size) + mean(b, b, chunk_size)
  total -= 2 * mean(a, b, chunk_size)
  return max(_SCALE * total, 0.0)


def _mean_gaussian_kernel(
  a: rows_lib.Rows, b: rows_lib.Rows, chunk_size: int
) -> float:
  """Returns the mean of kernel - 1 over all pairs; the 1 cancels in the MMD."""
  total = 0.0
  for x in rows_lib.chunks(a, chunk_size):
    for y in rows_lib.chunks(b, chunk_size):
      total += np.expm1(-_GAMMA * rows_lib.squared_distances(x, y)).sum()
  return float(total) / (len(a) * len(b))


def _longest(rows: rows_lib.Rows, chunk_size: int) -> float:
  """Returns the length of the longest vector.

  Raises:
    ValueError: if a vector is not finite.
  """
  lengths = [
    np.linalg.norm(chunk, axis=1).max()
    for chunk in rows_lib.chunks(rows, chunk_size)
  ]
  return float(max(lengths))


def _mmd_of_low_orders(
  a: rows_lib.Rows, b: rows_lib.Rows, chunk_size: int
) -> float:
  """Returns the squared MMD with w_x w_y (1 + s + s^2 / 2), s = 2 gamma x.y.

  It is a sum of squares, so nothing cancels in it.
  """
  moments = zip(
    _weighted_moments(a, chunk_size),
    _weighted_moments(b, chunk_size),
    strict=True,
  )
  factors = 1, 2 * _GAMMA, 2 * _GAMMA**2
  return sum(
    float(factor * np.square(x - y).sum())
    for factor, (x, y) in zip(factors, moments, strict=True)
  )


def _weighted_moments(
  rows: rows_lib.Rows, chunk_size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns the means of w [], w x [D] and w x x^T [D, D]."""
  width = rows.shape[1]
  zeroth, first, second = np.zeros(()), np.zeros(width), np.zeros((width,) * 2)
  for x in rows_lib.chunks(rows, chunk_size):
    w = _weights(x)
    zeroth += w.sum()
    first += w @ x
    second += (w[:, None] * x).T @ x
  return zeroth / len(rows), first / len(rows), second / len(rows)


def _weights(x: np.ndarray) -> np.ndarray:
  """Returns w = exp(-gamma |x|^2) of vectors [n, D], float64 [n]."""
  return np.exp(-_GAMMA * np.square(x, dtype=np.float64).sum(axis=1))


def _mean_remainder(
  a: rows_lib.Rows, b: rows_lib.Rows, chunk_size: int
) -> float:
  """Returns the mean of w_x w_y (e^s - 1 - s - s^2 / 2) over all pairs.

  If both sets are one, each block is computed once for both of its triangles.
  """
  frame = device_blocks.Frame(centre=np.zeros(a.shape[1]), scale=1.0)
  total = 0.0
  for i, x in enumerate(device_blocks.blocks(a, frame, chunk_size)):
    sums = jnp.zeros(len(x.moved))
    first = i if a is b else 0
    for j, y in enumerate(
      device_blocks.blocks(b, frame, chunk_size, first), first
    ):
      w = np.zeros(len(y.moved), np.float32)
      count = y.part.stop - y.part.start
      w[:count] = _weights(y.moved[:count]) * (2 if a is b and j > i else 1)
      sums += _sum_remainders(x.moved, y.moved, w)
    count = x.part.stop - x.part.start
    weights = _weights(x.moved[:count])
    total += float(weights @ np.asarray(sums, np.float64)[:count])
  return total / (len(a) * len(b))


@jax.jit
def _sum_remainders(x: jax.Array, y: jax.Array, w: jax.Array) -> jax.Array:
  """Returns sum_y w_y (e^s - 1 - s - s^2 / 2) for each x, |s| < 0.02."""
  highest = jax.lax.Precision.HIGHEST
  s = 2 * _GAMMA * jnp.matmul(x, y.T, precision=highest)
  remainder = s * s * s / 6 * (1 + s / 4 * (1 + s / 5))
  return jnp.matmul(remainder, w, precision=highest)
