"""Latents of an AE or VAE: encoding, decoding and interpolation."""

import jax
import numpy as np
import pytest

import vq_jax
from tests.train import tiny_configs
from vq_jax.config import modules
from vq_jax.inference import latents
from vq_jax.runs import load as load_lib


@pytest.fixture(scope='module')
def images(source):
  return np.load(source.removeprefix('npz:'))['images']


@pytest.fixture(scope='module')
def vae(vae_run):
  return vq_jax.load(vae_run)


def parts(model):
  return model.autoencoder, model.variables['autoencoder']


def test_there_and_back_is_the_reconstruction(vae, images):
  z = vae.encode(images)
  assert z.shape == (48, 3)
  assert latents.latent_shape(vae.autoencoder, (8, 8, 1)) == (3,)
  decoded = np.asarray(vae.decode(z))
  np.testing.assert_array_equal(decoded, vae.reconstruct(images))
  assert 0 <= decoded.min() and decoded.max() <= 1
  batches = latents.encode(*parts(vae), images, batch_size=7)
  np.testing.assert_allclose(batches, z, atol=1e-5)


def test_a_vae_decodes_samples_of_its_prior(vae):
  generated = vae.generate(0, num=5)
  assert generated.shape == (5, 8, 8, 1)
  np.testing.assert_array_equal(generated, vae.generate(0, num=5))
  assert (generated != vae.generate(1, num=5)).any()
  with pytest.raises(ValueError, match='has no classes'):
    vae.generate(0, labels=[1])
  with pytest.raises(ValueError, match='num must be a whole number in'):
    vae.generate(0, num=0)


def test_interpolation_begins_and_ends_at_the_images(vae, images):
  line = np.asarray(vae.interpolate(images[0], images[1], steps=5))
  ends = vae.reconstruct(images[:2])
  np.testing.assert_allclose(line[[0, -1]], ends, atol=1e-5)
  middle = vae.encode(images[:2]).mean(axis=0, keepdims=True)
  np.testing.assert_allclose(line[2:3], vae.decode(middle), atol=1e-5)
  with pytest.raises(ValueError, match=r'in \[2, 65536\]; got 1'):
    vae.interpolate(images[0], images[1], steps=1)
  with pytest.raises(ValueError, match='one shape'):
    vae.interpolate(images[0], images[1][:4])


def test_an_autoencoder_with_a_quantizer_is_refused(tokenizer, images):
  model = vq_jax.load(tokenizer)
  with pytest.raises(ValueError, match='this run has a VQVAE'):
    latents.encode(*parts(model), images)
  with pytest.raises(ValueError, match='this run has a VQVAE'):
    model.interpolate(images[0], images[1])


def test_generating_from_a_plain_autoencoder_is_an_error_with_a_remedy(source):
  config = tiny_configs.autoencoder(source)
  config['model'] = {
    **tiny_configs.vae(source)['model'],
    'type': 'ae',
    'grid': None,
  }
  del config['model']['likelihood']
  data = {'image_shape': (8, 8, 1), 'class_names': ['all']}
  run = {'config': config, 'dataset': data}
  module = modules.make_autoencoder(run)
  variables = modules.init_autoencoder(module, (8, 8, 1), jax.random.key(0))
  model = load_lib.make_model(module, {'autoencoder': variables}, run)
  assert model.encode(np.zeros((2, 8, 8, 1))).shape == (2, 4, 4, 3)
  with pytest.raises(ValueError, match='fit a mixture to its latents'):
    model.generate(0)
