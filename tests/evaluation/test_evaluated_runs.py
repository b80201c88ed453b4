"""Runs are evaluated by the images that they generate or reconstruct."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

import vq_jax
from tests.evaluation import extractors
from train import evaluate as train_evaluate
from vq_jax import data
from vq_jax import evaluation
from vq_jax import metrics
from vq_jax.cli import main
from vq_jax.evaluation import choosing
from vq_jax.metrics import frechet
from vq_jax.utils import images as image_lib

pytestmark = pytest.mark.filterwarnings(
  'ignore::vq_jax.evaluation.UnavailableMetricWarning'
)
EXTRACTOR = extractors.random_projection()
FEW = {'num': 22, 'batch_size': 8}


@pytest.fixture(scope='module')
def prior(maskgit):
  return vq_jax.load(maskgit)


@pytest.fixture(scope='module')
def autoencoder(tokenizer):
  return vq_jax.load(tokenizer)


@pytest.fixture(scope='module')
def generated(prior, tmp_path_factory):
  """The record of a generation, and the file of its samples."""
  folder = tmp_path_factory.mktemp('generation')
  path = folder / 'samples.npz'
  record = evaluation.evaluate_generation(
    prior,
    folder,
    evaluation.EvaluationOptions(**FEW),
    extractor=EXTRACTOR,
    save=evaluation.Save(samples=path),
  )
  return record, path


def gaussian(images):
  return frechet.fit(EXTRACTOR(images)['pooled'])


def real_images(source, split='train'):
  return data.open_eval_batches(source, split).to_arrays()[0]


def test_generated_images_are_those_of_the_seed(prior, generated, source):
  record, path = generated
  with np.load(path) as file:
    images, labels = file['arr_0'], file['arr_1']
  expected = image_lib.to_uint8(prior.generate(0, num=22, batch_size=5))
  np.testing.assert_allclose(images.astype(int), expected, atol=1)
  np.testing.assert_array_equal(labels, np.arange(22) % 3)
  real = gaussian(real_images(source))
  fid = metrics.frechet_distance(gaussian(images), real)
  assert record.value('fid') == pytest.approx(fid, rel=1e-5)
  held_out = gaussian(real_images(source, 'train[:20]'))
  floor = metrics.frechet_distance(held_out, real)
  assert record.results[0].floor == pytest.approx(floor, rel=1e-5)
  assert record.results[0].floor_samples == 20


def test_a_generation_names_its_sampling_options(prior, generated, tmp_path):
  (options,) = generated[0].to_json()['results'][0]['sampling']
  assert options['sampler'] == 'MaskGITSampler' and options['steps'] == 3
  sampler = dataclasses.replace(prior.info.sampler, steps=2, guidance=3.0)
  other = evaluation.evaluate_generation(
    prior,
    tmp_path,
    evaluation.EvaluationOptions(metrics=('fid',), **FEW),
    sampler=sampler,
    extractor=EXTRACTOR,
  )
  assert other.sampling[0]['steps'] == 2 and other.sampling[0]['guidance'] == 3
  assert other.value('fid') != generated[0].value('fid')
  assert other.model == generated[0].model and len(other.model) == 64


def test_a_vae_generates_from_its_prior(vae_run, tmp_path):
  images = evaluation.GeneratedImages(vq_jax.load(vae_run), 12, 0)
  whole, parts = (
    np.concatenate([b['image'] for rows in rows for b in images.batches(*rows)])
    for rows in ([(range(12), 12)], [(range(5), 5), (range(5, 12), 4)])
  )
  np.testing.assert_allclose(whole.astype(int), parts, atol=1)
  assert len(np.unique(whole, axis=0)) == 12


def test_reconstructions_have_the_metrics_of_training(
  autoencoder, tokenizer, source, tmp_path
):
  record = evaluation.evaluate_reconstruction(
    autoencoder,
    tmp_path,
    evaluation.EvaluationOptions(batch_size=8),
    extractor=EXTRACTOR,
  )
  expected = train_evaluate.evaluate(pathlib.Path(tokenizer), {}).metrics
  for name in ('mse', 'psnr', 'psnr_per_image', 'ssim'):
    assert record.value(name) == pytest.approx(expected[name], rel=1e-4), name
  for name in ('dataset_usage', 'dataset_perplexity'):
    assert record.value(name) == pytest.approx(expected[name], rel=1e-5), name
  images = real_images(source, 'train[:20]')
  found = gaussian(image_lib.to_uint8(autoencoder.reconstruct(images)))
  fid = metrics.frechet_distance(found, gaussian(images))
  assert record.value('fid') == pytest.approx(fid, rel=1e-4)
  floors = {r.metric: r for r in record.results}
  assert floors['mse'].floor is None and floors['mse'].reference is None
  assert floors['fid'].floor > 0 and floors['fid'].floor_samples == 48
  assert floors['fid'].floor_note.endswith('images.npz train')
  assert 'of at least 16 x 16 pixels' in record.unavailable['lpips']


def test_a_random_part_of_the_images_is_reconstructed(autoencoder, tmp_path):
  for seed in (0, 1):
    record = evaluation.evaluate_reconstruction(
      autoencoder,
      tmp_path,
      evaluation.EvaluationOptions(num=7, metrics=('mse',), seed=seed),
    )
    assert record.results[0].samples == 7
    assert record.results[0].floor is None


def command(capsys, *argv):
  code = main.main(['evaluate', *map(str, argv)])
  captured = capsys.readouterr()
  return code, captured.out, captured.err


@pytest.fixture
def projection(monkeypatch):
  """Makes the command line load the projection."""

  def load(name, **_):
    return EXTRACTOR

  monkeypatch.setattr(choosing.features_lib, 'load_extractor', load)


def test_a_run_is_evaluated_from_the_command_line(
  maskgit, generated, projection, capsys
):
  options = ('--num', 22, '--batch-size', 8, '--metrics', 'fid,is')
  code, out, err = command(capsys, maskgit, *options)
  assert code == 0, err
  path = pathlib.Path(maskgit) / 'evaluation' / 'generation-inception-22.json'
  record = json.loads(path.read_text())
  assert [r['metric'] for r in record['results']] == ['fid', 'is']
  fid = generated[0].value('fid')
  assert record['results'][0]['value'] == pytest.approx(fid, rel=1e-5)
  assert f'{fid:.3g}' in out and str(path) in out
  code, out, _ = command(capsys, maskgit, *options, '--guidance', '2.0')
  assert code == 0 and 'generation-inception-22-guidance=2.0.json' in out


def test_an_autoencoder_and_two_folders_from_the_command_line(
  tokenizer, source, generated, projection, tmp_path, capsys, monkeypatch
):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  out = tmp_path / 'reconstruction.json'
  code, said, err = command(
    capsys,
    *(tokenizer, '--metrics', 'psnr,fid,codebook', '--out', out),
    *('--save-statistics', tmp_path / 'real.npz', '--split', 'train'),
  )
  assert code == 0, err
  assert 'dataset_usage' in said and 'psnr' in out.read_text()
  assert json.loads(out.read_text())['results'][0]['samples'] == 48
  code, said, err = command(
    capsys,
    *('--generated', generated[1], '--reference', tmp_path / 'real.npz'),
    *('--metrics', 'fid'),
  )
  assert code == 0, err
  assert f'{generated[0].value("fid"):.5g}' in said
  assert not list((tmp_path / 'cache' / 'vq_jax' / 'evaluation').iterdir())


def test_errors_of_the_command_line_are_one_line(
  maskgit, tokenizer, generated, projection, tmp_path, capsys
):
  for argv, message in [
    ((), 'either a run folder or --generated'),
    ((maskgit, '--generated', generated[1]), 'either a run folder or'),
    (('--generated', generated[1]), 'give them with --reference'),
    ((tokenizer, '--steps', 3), 'no sampling options'),
    ((maskgit, '--num', 0), 'num must be a whole number in [1, 16777216]'),
    ((maskgit, '--metrics', 'psnr'), "unknown metric 'psnr'"),
    ((maskgit, '--data', 'folder:/nowhere'), '/nowhere'),
    ((maskgit, '--save-samples', 'a.png'), 'name of an .npz file'),
    (
      (maskgit, '--save-statistics', tmp_path / 'a.npz', '--metrics', 'is'),
      'needs the metric fid or sfid',
    ),
    ((maskgit, '--sweep', 'steps=0'), 'steps must be'),
    ((maskgit, '--sweep', 'steps=1', '--save-samples', 'a.npz'), '--sweep'),
    ((*('--generated', generated[1], '--sweep'), 'steps=1'), '--reference'),
    ((tmp_path / 'none',), 'no such run folder'),
    ((maskgit, '--out', tmp_path), 'is a folder'),
  ]:
    code, _, err = command(capsys, *argv)
    assert code == 1 and err.count('\n') == 1 and message in err, (argv, err)
