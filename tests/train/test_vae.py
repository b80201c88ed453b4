"""A VAE is trained by the same loop, and its metrics are those of the bound."""

import pathlib

import jax
import numpy as np
import pytest

import vq_jax
from tests.train import tiny_configs
from train import loop
from train.logging import writers
from train.tasks import vae as vae_task
from vq_jax import losses
from vq_jax.config import schema


def records(folder, kind):
  found = writers.read_metrics(pathlib.Path(folder))
  return [r for r in found if r['kind'] == kind]


def test_beta_rises_to_its_value(vae_run):
  betas = {r['step']: r['beta'] for r in records(vae_run, 'train')}
  # Lines of two steps: the means of 1/4 and 2/4, then 3/4 and 1, then 1.
  assert betas == {2: 0.375, 4: 0.875, 6: 1.0, 8: 1.0}


def test_evaluation_is_the_bound_of_the_held_out_images(source, vae_run):
  model = vq_jax.load(vae_run)
  images = np.load(source.removeprefix('npz:'))['images'][:20] / np.float32(255)
  variables = model.variables['autoencoder']
  keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0), i))(
    np.arange(20)
  )

  @jax.jit
  def log_weight(k):
    keys_k = jax.vmap(lambda key: jax.random.fold_in(key, k))(keys)
    return model.autoencoder.apply(
      variables, images, keys_k, method='log_weight'
    )

  log_weights = np.stack([log_weight(k) for k in range(3)])
  found = writers.last_evaluation(pathlib.Path(vae_run))
  iwae = losses.iwae_bound(log_weights).mean()
  np.testing.assert_allclose(found['elbo'], log_weights.mean(), rtol=1e-4)
  np.testing.assert_allclose(found['iwae'], iwae, rtol=1e-4)
  np.testing.assert_allclose(
    found['iwae_bits_per_dim'], -iwae / np.log(2) / 64, rtol=1e-4
  )
  assert found['iwae'] > found['elbo']
  folder = pathlib.Path(vae_run, 'samples')
  for name in ('samples', 'reconstructions'):
    assert list(folder.glob(f'{name}_*.png'))


def test_pmap_trains_as_jit_does(source, vae_run, tmp_path):
  config = tiny_configs.vae(source)
  config['parallel'] = {'mode': 'pmap'}
  loop.train(config, tmp_path)
  for got, want in zip(
    records(tmp_path, 'train'), records(vae_run, 'train'), strict=True
  ):
    for name in ('loss', 'kl', 'nll', 'grad_norm'):
      np.testing.assert_allclose(got[name], want[name], rtol=1e-3)


def test_a_model_and_a_task_that_do_not_fit_are_named(source, tmp_path):
  config = tiny_configs.vae(source)
  config['task'], config['loss'] = 'autoencoder', {'l2': 1.0}
  with pytest.raises(schema.ConfigError, match="Use the task 'vae'"):
    loop.train(config, tmp_path)
  config = tiny_configs.autoencoder(source)
  config['task'], config['loss'] = 'vae', {}
  with pytest.raises(schema.ConfigError, match='got vqvae'):
    loop.train(config, tmp_path)


def test_a_gaussian_likelihood_counts_a_pixels_share_of_its_density(
  source, tmp_path
):
  config = tiny_configs.vae(source, total_steps=2)
  config['model']['likelihood'] = {'type': 'gaussian'}
  config['loss'] = {'iwae_samples': 1}
  found = loop.train(config, tmp_path)
  np.testing.assert_allclose(
    found['elbo_bits_per_dim'], 8 - found['elbo'] / 64 / np.log(2), rtol=1e-5
  )
  assert vae_task.Loss().beta == 1
