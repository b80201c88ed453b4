"""Maximum mean discrepancies (MMD) between two sets of features."""

import numpy as np

from vq_jax.metrics import estimates
from vq_jax.metrics import rows as rows_lib
from vq_jax.utils import fields

_SIGMA, _SCALE = 10.0, 1000.0  # of CMMD


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
  total = (
    _mean_gaussian_kernel(a, a, chunk_size)
    + _mean_gaussian_kernel(b, b, chunk_size)
    - 2 * _mean_gaussian_kernel(a, b, chunk_size)
  )
  return max(_SCALE * total, 0.0)


def _mean_gaussian_kernel(
  a: rows_lib.Rows, b: rows_lib.Rows, chunk_size: int
) -> float:
  """Returns the mean of kernel - 1 over all pairs; the 1 cancels in the MMD."""
  gamma = 1 / (2 * _SIGMA**2)
  total = 0.0
  for x in rows_lib.chunks(a, chunk_size):
    for y in rows_lib.chunks(b, chunk_size):
      total += np.expm1(-gamma * rows_lib.squared_distances(x, y)).sum()
  return float(total) / (len(a) * len(b))
