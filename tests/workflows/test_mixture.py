"""Gaussian mixtures of latents."""

import numpy as np
import pytest

from vq_jax.workflows import mixture


def clusters(n=600, seed=0):
  """Two well separated clusters of latents [n, 2, 2], a third in the first."""
  rng = np.random.default_rng(seed)
  first = np.arange(n) % 3 == 0
  centre = np.where(first[:, None, None], 5.0, -5.0)
  return (centre + rng.normal(size=(n, 2, 2))).astype(np.float32)


def test_a_mixture_finds_clusters_and_samples_them():
  z = clusters()
  fitted = mixture.fit_mixture(z, 2)
  weights = sorted(fitted.weights)
  np.testing.assert_allclose(weights, [1 / 3, 2 / 3], atol=0.01)
  sampled = fitted.sample(0, 6000)
  assert sampled.shape == (6000, 2, 2) and sampled.dtype == np.float32
  first = (sampled.mean(axis=(1, 2)) > 0).mean()
  np.testing.assert_allclose(first, 1 / 3, 0.1)
  np.testing.assert_allclose(
    np.cov(sampled.reshape(6000, -1).T), np.cov(z.reshape(600, -1).T), rtol=0.15
  )
  np.testing.assert_array_equal(sampled, fitted.sample(0, 6000))


def test_latents_in_a_plane_can_be_fitted():
  z = np.zeros((40, 3), np.float32)
  z[:, 0] = np.linspace(-1, 1, 40)
  sampled = mixture.fit_mixture(z, 4).sample(0, 50)
  assert np.isfinite(sampled).all() and np.abs(sampled[:, 1:]).max() < 0.2


@pytest.mark.parametrize('components', [0, 41])
def test_impossible_mixtures_are_named(components):
  with pytest.raises(ValueError, match='at least 1|between 1 and 40'):
    mixture.fit_mixture(np.zeros((40, 3)), components)
