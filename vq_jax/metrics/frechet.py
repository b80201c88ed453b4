"""Frechet distance between two sets of features, each seen as a Gaussian.

With the features of Inception-v3 this is the FID (Heusel et al. 2017).
"""

import dataclasses
import functools
from collections.abc import Iterable

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gaussian:
  """Mean and covariance of a set of vectors, in float64.

  Attributes:
    count: how many vectors.
    mean: [D].
    scatter: [D, D], the sum of (x - mean)(x - mean)^T.
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
  """Returns the Gaussian of features [n, D], n >= 1.

  Raises:
    ValueError: if that is not the shape, or a feature is not finite.
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
  """Returns the Gaussian of both sets together (Chan et al. 1979)."""
  count = a.count + b.count
  delta = b.mean - a.mean
  between = np.outer(delta, delta) * (a.count * b.count / count)
  return Gaussian(
    count=count,
    mean=a.mean + delta * (b.count / count),
    scatter=a.scatter + b.scatter + between,
  )


def fit_batches(batches: Iterable[np.ndarray]) -> Gaussian:
  """Returns the Gaussian of features that come in batches [n, D]."""
  return functools.reduce(merge, map(fit, batches))


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
  """Squared 2-Wasserstein distance between two Gaussians.

    |m_a - m_b|^2 + tr A + tr B - 2 tr (A^1/2 B A^1/2)^1/2

  The last trace is the sum of the singular values of A^1/2 B^1/2, which takes
  no root of a product that rounding has made indefinite: the result is real
  and finite for singular covariances too, and symmetric in a and b.

  It falls with the number of vectors, so compare sets of one size only.

  Args:
    a: Gaussian over D features.
    b: Gaussian over D features.

  Returns:
    The distance, >= 0.

  Raises:
    ValueError: if the widths differ.
  """
  if a.mean.shape != b.mean.shape:
    raise ValueError(
      'both sets must have features of one width; got '
      f'{a.mean.shape[0]} and {b.mean.shape[0]}.'
    )
  cov_a, cov_b = a.covariance, b.covariance
  cross = np.linalg.norm(_root(cov_a) @ _root(cov_b), 'nuc')
  spread = np.trace(cov_a) + np.trace(cov_b) - 2 * cross
  return max(float(np.sum(np.square(a.mean - b.mean)) + spread), 0.0)


def _root(covariance: np.ndarray) -> np.ndarray:
  """The symmetric square root of a positive semidefinite matrix."""
  values, vectors = np.linalg.eigh(covariance)
  return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
