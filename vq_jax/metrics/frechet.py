"""The Frechet distance between Gaussians fitted to two sets of features.

With the pooled features of Inception-v3 it is the FID
(https://arxiv.org/abs/1706.08500); with its spatial features, the first seven
channels of a layer of 17 x 17, it is the sFID (https://arxiv.org/abs/2103.03841).
"""

import dataclasses
import functools
from collections.abc import Iterable

import numpy as np

from vq_jax.metrics import rows as rows_lib


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gaussian:
  """Mean and covariance of a set of vectors, in float64.

  Attributes:
    count: number of vectors.
    mean: [D].
    scatter: [D, D], the sum of (x - mean)(x - mean)^T.

  Example:
    >>> import numpy as np
    >>> from vq_jax.metrics import frechet
    >>> frechet.fit(np.array([[0.0], [2.0]])).covariance.tolist()
    [[2.0]]
  """

  count: int
  mean: np.ndarray
  scatter: np.ndarray

  @property
  def covariance(self) -> np.ndarray:
    """The unbiased covariance, [D, D].

    Raises:
      ValueError: for fewer than two vectors.
    """
    if self.count < 2:
      raise ValueError(
        f'a covariance needs at least 2 vectors; got {self.count}.'
      )
    return self.scatter / (self.count - 1)


def fit(features: np.ndarray) -> Gaussian:
  """Fits a Gaussian to features [n, D], n >= 1.

  Raises:
    ValueError: if the features have another shape, or are not finite.
  """
  features = np.asarray(features)
  rows_lib.check(features)
  features = rows_lib.to_float64(features)
  mean = features.mean(axis=0)
  centred = features - mean
  return Gaussian(count=len(features), mean=mean, scatter=centred.T @ centred)


def from_moments(
  mean: np.ndarray, covariance: np.ndarray, count: int | None = None
) -> Gaussian:
  """Returns a Gaussian with given moments, such as published statistics.

  Args:
    mean: float [D].
    covariance: float [D, D], symmetric and positive semidefinite.
    count: number of vectors, if it is known; `merge` needs it.

  Raises:
    ValueError: if the shapes do not fit, a number is not finite, or the matrix
      is no covariance.
  """
  mean, covariance = np.asarray(mean), np.asarray(covariance)
  if mean.ndim != 1 or covariance.shape != 2 * mean.shape:
    raise ValueError(
      'mean must be [D] and covariance [D, D]; got '
      f'{mean.shape} and {covariance.shape}.'
    )
  mean, covariance = rows_lib.to_float64(mean), rows_lib.to_float64(covariance)
  scale = np.abs(covariance).max(initial=0.0)
  if np.abs(covariance - covariance.T).max(initial=0.0) > 1e-4 * scale:
    raise ValueError('a covariance must be symmetric; got one that is not.')
  if np.diagonal(covariance).min(initial=0.0) < -1e-4 * scale:
    raise ValueError('a covariance must have no negative variances; got some.')
  count = 2 if count is None else count
  symmetric = (covariance + covariance.T) / 2
  return Gaussian(count=count, mean=mean, scatter=symmetric * (count - 1))


def merge(a: Gaussian, b: Gaussian) -> Gaussian:
  """Returns the Gaussian of the union of both sets (Chan et al. 1979)."""
  count = a.count + b.count
  delta = b.mean - a.mean
  between = np.outer(delta, delta) * (a.count * b.count / count)
  return Gaussian(
    count=count,
    mean=a.mean + delta * (b.count / count),
    scatter=a.scatter + b.scatter + between,
  )


def fit_batches(batches: Iterable[np.ndarray]) -> Gaussian:
  """Fits a Gaussian to batches of features [n, D]."""
  return functools.reduce(merge, map(fit, batches))


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
  """Returns the squared 2-Wasserstein distance between two Gaussians.

    |m_a - m_b|^2 + tr A + tr B - 2 tr (A^1/2 B A^1/2)^1/2

  The last trace is computed as the sum of the singular values of R^T S, where
  A = R R^T and B = S S^T. It is real and finite for singular covariances too,
  and cheap for sets of few vectors, since R has at most as many columns.

  The distance decreases with the number of vectors, so compare only sets of the
  same size.

  Args:
    a: Gaussian over D features.
    b: Gaussian over D features.

  Returns:
    the distance, at least 0.

  Raises:
    ValueError: if the numbers of features differ.

  Example:
    >>> import numpy as np
    >>> from vq_jax import metrics
    >>> features = np.random.default_rng(0).normal(size=(50, 3))
    >>> a = metrics.frechet.fit(features)
    >>> b = metrics.frechet.fit(features + 1.0)
    >>> round(metrics.frechet_distance(a, b), 6)
    3.0
  """
  if a.mean.shape != b.mean.shape:
    raise ValueError(
      'both Gaussians must have the same number of features; got '
      f'{a.mean.shape[0]} and {b.mean.shape[0]}.'
    )
  cov_a, cov_b = a.covariance, b.covariance
  cross = np.linalg.norm(_root(cov_a).T @ _root(cov_b), 'nuc')
  traces = np.trace(cov_a) + np.trace(cov_b) - 2 * cross
  return max(float(np.sum(np.square(a.mean - b.mean)) + traces), 0.0)


def _root(covariance: np.ndarray) -> np.ndarray:
  """Returns R [D, rank] with R R^T = C, for a positive semidefinite C [D, D].

  Eigenvalues that are only rounding errors are left out.
  """
  values, vectors = np.linalg.eigh(covariance)
  noise = len(values) * np.finfo(np.float64).eps * max(values[-1], 0)
  kept = values > noise
  return vectors[:, kept] * np.sqrt(values[kept])
