"""Laws of the Frechet distance."""

import numpy as np
import pytest
import scipy.linalg

from vq_jax import data
from vq_jax.metrics import frechet


@pytest.fixture
def rng():
  return np.random.default_rng(0)


def gaussian(mean, covariance, count=1000):
  return frechet.Gaussian(
    count=count,
    mean=np.asarray(mean, np.float64),
    scatter=np.asarray(covariance, np.float64) * (count - 1),
  )


def mixed(rng, n=200, width=6):
  return rng.normal(size=(n, width)) @ rng.normal(size=(width, width))


def test_moments_are_those_of_numpy(rng):
  x = mixed(rng)
  fitted = frechet.fit(x)
  np.testing.assert_allclose(fitted.mean, x.mean(axis=0))
  np.testing.assert_allclose(fitted.covariance, np.cov(x, rowvar=False))


def test_batches_merge_to_the_whole(rng):
  x = (mixed(rng) + 1000).astype(np.float32)
  whole = frechet.fit(x)
  merged = frechet.fit_batches(np.split(x, [1, 50, 51, 120]))
  assert merged.count == whole.count
  np.testing.assert_allclose(merged.mean, whole.mean)
  np.testing.assert_allclose(merged.scatter, whole.scatter, atol=1e-6)


def test_distance_to_itself_is_zero(rng):
  fitted = frechet.fit(mixed(rng))
  assert frechet.frechet_distance(fitted, fitted) < 1e-10


def test_distance_is_symmetric(rng):
  a, b = frechet.fit(mixed(rng)), frechet.fit(mixed(rng))
  np.testing.assert_allclose(
    frechet.frechet_distance(a, b), frechet.frechet_distance(b, a)
  )


def test_diagonal_covariances_have_a_closed_form(rng):
  a, b = rng.uniform(size=(2, 5))
  mean = rng.normal(size=(2, 5))
  expected = np.sum((mean[0] - mean[1]) ** 2 + (a**0.5 - b**0.5) ** 2)
  distance = frechet.frechet_distance(
    gaussian(mean[0], np.diag(a)), gaussian(mean[1], np.diag(b))
  )
  np.testing.assert_allclose(distance, expected)


def test_general_covariances_agree_with_the_eigenvalues_of_the_product(rng):
  a, b = frechet.fit(mixed(rng)), frechet.fit(mixed(rng))
  eigenvalues = np.linalg.eigvals(a.covariance @ b.covariance)
  expected = (
    np.sum((a.mean - b.mean) ** 2)
    + np.trace(a.covariance + b.covariance)
    - 2 * np.sqrt(eigenvalues.astype(complex)).real.sum()
  )
  np.testing.assert_allclose(frechet.frechet_distance(a, b), expected)


def test_a_shift_of_the_mean_adds_its_squared_length(rng):
  x, shift = mixed(rng), rng.normal(size=6)
  distance = frechet.frechet_distance(frechet.fit(x), frechet.fit(x + shift))
  np.testing.assert_allclose(distance, np.sum(shift**2))


def test_rotating_both_sets_changes_nothing(rng):
  x, y = mixed(rng), mixed(rng)
  q, _ = np.linalg.qr(rng.normal(size=(6, 6)))
  np.testing.assert_allclose(
    frechet.frechet_distance(frechet.fit(x @ q), frechet.fit(y @ q)),
    frechet.frechet_distance(frechet.fit(x), frechet.fit(y)),
  )


@pytest.mark.parametrize('scale', [1e-6, 1.0, 1e6])
def test_singular_covariances_stay_finite_and_exact(rng, scale):
  x = np.zeros((50, 64))
  x[:, :3] = rng.normal(size=(50, 3)) * scale
  y = np.zeros((50, 64))
  y[:, 3:6] = rng.normal(size=(50, 3)) * scale
  a, b = frechet.fit(x), frechet.fit(y)
  assert frechet.frechet_distance(a, a) < 1e-9 * scale**2
  expected = (
    np.sum((a.mean - b.mean) ** 2)
    + np.trace(a.covariance)
    + np.trace(b.covariance)
  )
  np.testing.assert_allclose(frechet.frechet_distance(a, b), expected)


def test_invalid_features_are_refused():
  with pytest.raises(ValueError, match='finite'):
    frechet.fit(np.array([[0.0, np.nan]]))
  with pytest.raises(ValueError, match='n >= 1'):
    frechet.fit(np.zeros((0, 3)))
  one = frechet.fit(np.zeros((1, 3)))
  with pytest.raises(ValueError, match='at least 2'):
    frechet.frechet_distance(one, one)
  with pytest.raises(ValueError, match='same number of features'):
    frechet.frechet_distance(frechet.fit(np.eye(2)), frechet.fit(np.eye(3)))


@pytest.mark.parametrize('count', [60, 1000])
def test_real_images_by_the_matrix_root_of_scipy(count):
  """The formula of pytorch-fid."""
  source = data.open_source('tfds:fashion_mnist_mini', 'test')
  images = data.in_memory(source).images[: 2 * count].astype(np.float64) / 255
  means = images.reshape(2, count, 7, 4, 7, 4).mean(axis=(3, 5))
  a, b = means.reshape(2, count, 49) ** 0.5
  root = scipy.linalg.sqrtm(np.cov(a.T) @ np.cov(b.T)).real
  want = np.sum((a.mean(0) - b.mean(0)) ** 2)
  want += np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root)
  got = frechet.frechet_distance(frechet.fit(a), frechet.fit(b))
  np.testing.assert_allclose(got, want, rtol=1e-6)
