"""Latents of a run without codes: there and back, mixtures, the way between."""

import numpy as np
import pytest

import vq_jax
from tests.train import tiny_configs
from train import loop
from vq_jax import latent_space


@pytest.fixture(scope='module')
def images(source):
  return np.load(source.removeprefix('npz:'))['images']


@pytest.fixture(scope='module')
def vae(vae_run):
  return vq_jax.load(vae_run)


def test_a_run_of_latents_has_no_codes(vae, images):
  with pytest.raises(ValueError, match='has no codes'):
    vae.encode(images)
  with pytest.raises(ValueError, match='has no codes'):
    vae.decode(np.zeros((1, 4, 4), int))


def test_there_and_back_is_the_reconstruction(vae, images):
  z = latent_space.encode(vae, images)
  assert z.shape == (48, 3) and latent_space.latent_shape(vae) == (3,)
  made = latent_space.decode(vae, z)
  np.testing.assert_array_equal(made, vae.reconstruct(images))
  assert 0 <= made.min() and made.max() <= 1
  parts = latent_space.encode(vae, images, batch_size=7)
  np.testing.assert_allclose(parts, z, atol=1e-5)


def test_a_vae_draws_from_its_prior(vae):
  made = vae.generate(0, num=5)
  assert made.shape == (5, 8, 8, 1)
  np.testing.assert_array_equal(made, vae.generate(0, num=5))
  assert (made != vae.generate(1, num=5)).any()
  with pytest.raises(ValueError, match='knows no classes'):
    vae.generate(0, labels=[1])
  with pytest.raises(ValueError, match='num must be a whole number in'):
    vae.generate(0, num=0)


def test_a_line_begins_and_ends_at_the_images(vae, images):
  made = latent_space.interpolate(vae, images[0], images[1], steps=5)
  ends = vae.reconstruct(images[:2])
  np.testing.assert_allclose(made[[0, -1]], ends, atol=1e-5)
  middle = latent_space.encode(vae, images[:2]).mean(axis=0, keepdims=True)
  np.testing.assert_allclose(
    made[2:3], latent_space.decode(vae, middle), atol=1e-5
  )
  with pytest.raises(ValueError, match=r'in \[2, 65536\]; got 1'):
    latent_space.interpolate(vae, images[0], images[1], steps=1)
  with pytest.raises(ValueError, match='one shape'):
    latent_space.interpolate(vae, images[0], images[1][:4])


def test_a_run_with_codes_is_refused(tokenizer, images):
  with pytest.raises(ValueError, match='holds a VQVAE'):
    latent_space.encode(vq_jax.load(tokenizer), images)


def test_a_plain_autoencoder_says_how_it_can_be_drawn_from(source, tmp_path):
  card = tiny_configs.autoencoder(source, total_steps=2)
  card['model'] = {
    **tiny_configs.vae(source)['model'],
    'type': 'ae',
    'grid': None,
  }
  del card['model']['likelihood']
  card['loss'] = {'l2': 1.0, 'quantizer': 0.0}
  loop.train(card, tmp_path)
  model = vq_jax.load(tmp_path)
  assert latent_space.latent_shape(model) == (4, 4, 3)
  with pytest.raises(ValueError, match='fit a mixture to its latents'):
    model.generate(0)


def clusters(n=600, seed=0):
  """Two well separated clusters of latents [n, 2, 2], a third in the first."""
  rng = np.random.default_rng(seed)
  first = np.arange(n) % 3 == 0
  centre = np.where(first[:, None, None], 5.0, -5.0)
  return (centre + rng.normal(size=(n, 2, 2))).astype(np.float32), first


def test_a_mixture_finds_clusters_and_draws_from_them():
  z, _ = clusters()
  mixture = latent_space.fit_mixture(z, 2)
  weights = sorted(mixture.weights)
  np.testing.assert_allclose(weights, [1 / 3, 2 / 3], atol=0.01)
  drawn = mixture.sample(0, 6000)
  assert drawn.shape == (6000, 2, 2) and drawn.dtype == np.float32
  np.testing.assert_allclose((drawn.mean(axis=(1, 2)) > 0).mean(), 1 / 3, 0.1)
  np.testing.assert_allclose(
    np.cov(drawn.reshape(6000, -1).T), np.cov(z.reshape(600, -1).T), rtol=0.15
  )
  np.testing.assert_array_equal(drawn, mixture.sample(0, 6000))


def test_latents_in_a_plane_can_be_fitted():
  z = np.zeros((40, 3), np.float32)
  z[:, 0] = np.linspace(-1, 1, 40)
  drawn = latent_space.fit_mixture(z, 4).sample(0, 50)
  assert np.isfinite(drawn).all() and np.abs(drawn[:, 1:]).max() < 0.2


@pytest.mark.parametrize('components', [0, 41])
def test_impossible_mixtures_are_named(components):
  with pytest.raises(ValueError, match='at least 1|between 1 and 40'):
    latent_space.fit_mixture(np.zeros((40, 3)), components)
