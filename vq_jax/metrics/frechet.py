"""The Frechet distance between Gaussians fitted to two sets of features.

With the features of Inception-v3 it is the FID
(https://arxiv.org/abs/1706.08500).
"""

import dataclasses
import functools
from collections.abc import Iterable

import numpy as np


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
  features = np.asarray(features, np.float64)
  if features.ndim != 2 or not len(features):
    raise ValueError(
      f'features must be [n, D] with n >= 1; got {features.shape}.'
    )
  if not np.isfinite(features).all():
    raise ValueError('features must be finite; got NaN or infinity.')
  mean = features.mean(axis=0)
  centred = features - mean
  return Gaussian(count=len(features), mean=mean, scatter=centred.T @ centred)


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

  The last trace is computed as the sum of the singular values of A^1/2 B^1/2,
  which is real and finite for singular covariances too.

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
  cross = np.linalg.norm(_root(cov_a) @ _root(cov_b), 'nuc')
  traces = np.trace(cov_a) + np.trace(cov_b) - 2 * cross
  return max(float(np.sum(np.square(a.mean - b.mean)) + traces), 0.0)


def _root(covariance: np.ndarray) -> np.ndarray:
  """Returns the symmetric square root of a positive semidefinite matrix."""
  values, vectors = np.linalg.eigh(covariance)
  return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
