"""Probing a run: its encoder's features, and the command."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vq_jax
from vq_jax.cli import main as cli
from vq_jax.workflows import probe


def test_pooling_averages_over_even_parts():
  x = jax.random.normal(jax.random.key(0), (2, 8, 6, 3))
  got = probe.pooled(x, 2).reshape(2, 2, 2, 3)
  want = np.asarray(x).reshape(2, 2, 4, 2, 3, 3).mean(axis=(2, 4))
  np.testing.assert_allclose(got, want, atol=1e-6)
  np.testing.assert_allclose(probe.pooled(x, 99), x.reshape(2, -1), atol=1e-6)
  assert probe.pooled(x[:, :7], 4).shape == (2, 4 * 4 * 3)
  ones = probe.pooled(jnp.ones((1, 7, 5, 2)), 3)
  np.testing.assert_allclose(ones, 1, atol=1e-6)


@pytest.mark.parametrize('run', ['tokenizer', 'maskgit', 'vae_run'])
def test_features_are_the_encoders(run, request, source):
  model = vq_jax.load(request.getfixturevalue(run))
  images = np.load(source.removeprefix('npz:'))['images']
  batches = vq_jax.data.eval_batches(
    vq_jax.data.open_source(source), batch_size=7
  )
  features, labels = probe.encoder_features(model, batches, cells=4)
  want = jax.jit(lambda v, x: model.autoencoder.apply(v, x, method='features'))(
    model.variables['autoencoder'], images
  )
  np.testing.assert_allclose(features, want.reshape(48, -1), atol=1e-5)
  np.testing.assert_array_equal(labels, np.arange(48) % 3)


def command(run, source, *more):
  splits = ('--test-split', 'train[:20]', '--shots', '1,5', '--draws', '3')
  return ['probe', run, '--data', source, *splits, *more]


def test_the_command_prints_and_writes_metrics(
  tokenizer, source, tmp_path, capsys
):
  path = tmp_path / 'probe.json'
  assert cli.main(command(tokenizer, source, '--out', str(path))) == 0
  out = capsys.readouterr().out
  assert 'of each class' in out and 'all' in out
  found = json.loads(path.read_text())
  assert set(found['shots']) == {'1', '5'} and found['features'] == 4 * 4 * 8
  # Bars in three directions are easy, even for an encoder of eight steps.
  assert found['linear'] > 0.9 and found['shots']['5'][0] > 0.6


def test_the_fingerprint_of_a_prior_is_that_of_its_autoencoder(
  maskgit, source, tmp_path, capsys
):
  """The config of a prior that was trained on tokens has no preprocessing."""
  run = shutil.copytree(maskgit, tmp_path / 'run')
  path = run / 'autoencoder' / 'config.json'
  config = json.loads(path.read_text())
  config['config']['data']['eval_preprocess'] = [
    {'type': 'center_crop', 'size': 4}
  ]
  path.write_text(json.dumps(config))
  assert cli.main(command(str(run), source)) == 0
  assert f'{2 * 2 * 8} features' in capsys.readouterr().out


@pytest.mark.parametrize(
  ('more', 'message'),
  [
    (('--shots', '100'), 'between 1 and 16'),
    (('--draws', '0'), 'draws must be a whole number in [1, 10000]'),
    (('--test-split', 'test'), "no split 'test'"),
  ],
)
def test_mistakes_get_one_clear_line(more, message, tokenizer, source, capsys):
  assert cli.main(command(tokenizer, source, *more)) == 1
  err = capsys.readouterr().err
  assert message in err and err.startswith('error: ') and err.count('\n') == 1


def test_images_without_labels_are_refused(tokenizer, tmp_path, capsys):
  np.savez(tmp_path / 'x.npz', images=np.zeros((9, 8, 8, 1), np.uint8))
  argv = command(tokenizer, f'npz:{tmp_path / "x.npz"}')
  assert cli.main(argv) == 1
  assert 'needs labelled images' in capsys.readouterr().err
