"""Tokens on disk equal those of the model, also after interruptions."""

import dataclasses
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
import tensorflow_datasets as tfds

import vq_jax
from tests.train import tiny_configs
from train import loop
from vq_jax import data
from vq_jax.cli import main as cli
from vq_jax.config import schema
from vq_jax.data import tokens as tokens_lib
from vq_jax.runs import export as export_lib
from vq_jax.workflows import tokenize

ROOT = pathlib.Path(__file__).parent.parent
OPTIONS = {'shard_size': 20, 'batch_size': 16}


@pytest.fixture(scope='module')
def model(tokenizer):
  return vq_jax.load(tokenizer)


@pytest.fixture(scope='module')
def images(source):
  return np.load(source.removeprefix('npz:'))['images']


@pytest.fixture(scope='module')
def written(model, source, tmp_path_factory):
  folder = tmp_path_factory.mktemp('tokens') / 'tokens'
  splits = {'train': 'train', 'held_out': 'train[:20]'}
  counts = tokenize.tokenize(
    model, folder, source=source, splits=splits, **OPTIONS
  )
  assert counts == {'train': 48, 'held_out': 20}
  return folder


def contents(folder):
  return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def test_the_tokens_are_those_of_the_model(model, written, images):
  source = data.open_source(f'tokens:{written}', 'train')
  batch = source.batch(np.arange(48))
  np.testing.assert_array_equal(batch['tokens'], model.encode(images))
  np.testing.assert_array_equal(batch['label'], np.arange(48) % 3)
  np.testing.assert_array_equal(source[7]['tokens'], batch['tokens'][7])
  part = data.open_source(f'tokens:{written}', 'train[40:]')
  np.testing.assert_array_equal(
    part.batch(np.arange(8))['tokens'], batch['tokens'][40:]
  )


def test_plain_tfds_reads_them(written, model, images):
  builder = tfds.builder_from_directory(str(written))
  records = list(builder.as_data_source('held_out'))
  assert [r['index'] for r in records] == list(range(20))
  np.testing.assert_array_equal(
    [r['tokens'] for r in records], model.encode(images[:20])
  )
  assert builder.info.features['label'].names == ['0', '1', '2']
  assert 'tensorflow' not in sys.modules


def test_too_many_for_memory_are_read_from_disk(written, monkeypatch):
  kept = data.open_source(f'tokens:{written}').batch(np.array([5, 3]))
  monkeypatch.setattr(tokens_lib, 'LIMIT', 0)
  read = data.open_source(f'tokens:{written}').batch(np.array([5, 3]))
  np.testing.assert_array_equal(kept['tokens'], read['tokens'])


def test_existing_files_are_kept_and_missing_ones_written(
  model, source, written, tmp_path
):
  """A shard, the metadata and the end of the record are gone."""
  folder = shutil.copytree(written, tmp_path / 'tokens')
  gone = folder / 'tokens-train.array_record-00001-of-00003'
  kept = folder / 'tokens-train.array_record-00000-of-00003'
  record = tokens_lib.read_record(folder)
  for path in (gone, folder / 'dataset_info.json', folder / 'features.json'):
    path.unlink()
  tokens_lib.write_record(folder, {**record, 'complete': False})
  with pytest.raises(data.DataError, match='are not complete'):
    data.open_source(f'tokens:{folder}')
  before = kept.stat().st_mtime_ns
  tokenize.tokenize(
    model, folder, source=source, splits=record['splits'], **OPTIONS
  )
  assert kept.stat().st_mtime_ns == before
  assert contents(folder) == contents(written)


KILLED = """
import sys, time
import vq_jax
from vq_jax.workflows import tokenize
from vq_jax.data import tokens as tokens_lib
write = tokens_lib.write_shard
def slow(path, features, examples):
  def delayed():
    for example in examples:
      time.sleep(0.01)
      yield example
  write(path, features, delayed())
tokens_lib.write_shard = slow
run, source, out = sys.argv[1:]
tokenize.tokenize(
  vq_jax.load(run), out, source=source, shard_size=20, batch_size=16,
  splits={'train': 'train', 'held_out': 'train[:20]'},
)
"""


def test_a_killed_command_resumes_to_the_same_examples(
  model, tokenizer, source, written, tmp_path
):
  folder = tmp_path / 'tokens'
  process = subprocess.Popen(
    [sys.executable, '-c', KILLED, tokenizer, source, str(folder)],
    cwd=ROOT,
    env={**os.environ, 'JAX_NUM_CPU_DEVICES': '8'},
  )
  first = folder / 'tokens-train.array_record-00000-of-00003'
  deadline = time.monotonic() + 120
  while not first.exists() and time.monotonic() < deadline:
    time.sleep(0.02)
    assert process.poll() is None
  process.send_signal(signal.SIGKILL)
  process.wait()
  assert not tokens_lib.read_record(folder)['complete']
  splits = tokens_lib.read_record(folder)['splits']
  tokenize.tokenize(model, folder, source=source, splits=splits, **OPTIONS)
  for split in splits:
    got, want = (
      list(tfds.builder_from_directory(str(f)).as_data_source(split))
      for f in (folder, written)
    )
    assert len(got) == len(want)
    for mine, other in zip(got, want, strict=True):
      jax.tree.map(np.testing.assert_array_equal, mine, other)


def test_another_tokenizer_or_other_options_are_refused(
  model, source, written, tmp_path
):
  splits = {'train': 'train', 'held_out': 'train[:20]'}
  with pytest.raises(data.DataError, match='shard_size: 20 there, 10 here'):
    tokenize.tokenize(
      model, written, source=source, splits=splits, shard_size=10
    )
  loop.train(tiny_configs.autoencoder(source, total_steps=1), tmp_path / 'run')
  other = vq_jax.load(tmp_path / 'run')
  assert export_lib.fingerprint(other) != export_lib.fingerprint(model)
  with pytest.raises(data.DataError, match='tokenizer: '):
    tokenize.tokenize(other, written, source=source, splits=splits, **OPTIONS)


def test_saving_and_loading_keep_the_fingerprint(model, maskgit):
  own = vq_jax.load(pathlib.Path(maskgit) / 'autoencoder')
  assert export_lib.fingerprint(own) == export_lib.fingerprint(model)


def test_folders_with_other_files_are_not_touched(model, source, tmp_path):
  (tmp_path / 'letter.txt').write_text('dear')
  with pytest.raises(
    data.DataError, match='holds no tokens; give a new folder'
  ):
    tokenize.tokenize(model, tmp_path, source=source)
  with pytest.raises(data.DataError, match='is a file'):
    tokenize.tokenize(model, tmp_path / 'letter.txt', source=source)
  with pytest.raises(data.DataError, match='vqjax tokenize RUN'):
    data.open_source(f'tokens:{tmp_path}')


def test_names_of_splits_are_plain(model, source, tmp_path):
  splits = {'train[:3]': 'train[:3]'}
  with pytest.raises(data.DataError, match='needs a plain name'):
    tokenize.tokenize(model, tmp_path, source=source, splits=splits)


def test_runs_without_tokens_are_refused(vae_run, maskgit, source, tmp_path):
  for run in (vae_run, maskgit):
    with pytest.raises(ValueError, match='Give the run of a tokenizer'):
      tokenize.tokenize(vq_jax.load(run), tmp_path, source=source)


def test_several_passes_need_random_preprocessing(
  model, source, images, tmp_path
):
  with pytest.raises(ValueError, match='would all be the same'):
    tokenize.tokenize(model, tmp_path / 'a', source=source, passes=2)
  facts = dataclasses.replace(model.info.data, preprocess=(data.RandomFlip(),))
  info = dataclasses.replace(model.info, data=facts)
  flipping = dataclasses.replace(model, info=info)
  tokenize.tokenize(
    flipping, tmp_path / 'b', source=source, passes=3, **OPTIONS
  )
  batch = data.open_source(f'tokens:{tmp_path / "b"}').batch(np.arange(144))
  tokens = batch['tokens'].reshape(3, 48, 4, 4)
  plain = np.asarray(model.encode(images))
  flipped = np.asarray(model.encode(images[:, :, ::-1]))
  np.testing.assert_array_equal(tokens[0], plain)
  for other in tokens[1:]:
    same = (other == plain).all(axis=(1, 2))
    turned = (other == flipped).all(axis=(1, 2))
    assert (same | turned).all() and 0 < turned.sum() < 48
  assert (tokens[1] != tokens[2]).any()
  np.testing.assert_array_equal(
    batch['label'].reshape(3, 48), np.tile(np.arange(48) % 3, (3, 1))
  )


def test_several_grids_and_several_tokens_per_latent(source, images, tmp_path):
  config = tiny_configs.autoencoder(source, total_steps=1)
  inner = {'type': 'vq', 'codebook_size': 8, 'code_dim': 4}
  config['model'] = {
    'type': 'vqvae2',
    'strides': (2, 2),
    'channels': 8,
    'residual_channels': 4,
    'residual_blocks': 1,
    'image_channels': 1,
    'quantizer': {'type': 'residual', 'levels': 2, 'quantizer': inner},
  }
  loop.train(config, tmp_path / 'run')
  model = vq_jax.load(tmp_path / 'run')
  tokenize.tokenize(model, tmp_path / 'tokens', source=source, **OPTIONS)
  batch = data.open_source(f'tokens:{tmp_path / "tokens"}').batch(np.arange(48))
  for i, grid in enumerate(model.encode(images)):
    np.testing.assert_array_equal(batch[f'tokens_{i}'], grid)
  np.testing.assert_allclose(
    model.decode((batch['tokens_0'], batch['tokens_1'])),
    model.reconstruct(images),
    atol=1e-6,
  )


def prior_config(written, tokenizer):
  config = tiny_configs.prior(f'tokens:{written}', tokenizer)
  config['data']['eval_split'] = 'held_out'
  return config


def test_training_on_tokens_equals_training_on_images(
  written, tokenizer, maskgit, tmp_path
):
  from train.logging import writers

  result = loop.train(prior_config(written, tokenizer), tmp_path)
  want = writers.last_evaluation(pathlib.Path(maskgit))
  for name, value in want.items():
    np.testing.assert_allclose(result[name], value, rtol=1e-6)
  generated = vq_jax.load(tmp_path).generate(0, num=3)
  np.testing.assert_allclose(
    generated, vq_jax.load(maskgit).generate(0, num=3), atol=1e-6
  )


def test_a_prior_refuses_tokens_of_another_tokenizer(written, source, tmp_path):
  loop.train(tiny_configs.autoencoder(source, total_steps=1), tmp_path / 'run')
  with pytest.raises(schema.ConfigError, match='another tokenizer'):
    loop.train(prior_config(written, str(tmp_path / 'run')), tmp_path / 'prior')


def test_tokens_are_no_images(written, tokenizer, tmp_path):
  config = prior_config(written, tokenizer)
  config['data']['train_preprocess'] = ({'type': 'random_flip'},)
  with pytest.raises(data.DataError, match='no preprocessing can change'):
    loop.train(config, tmp_path / 'prior')
  config = tiny_configs.autoencoder(f'tokens:{written}')
  config['data']['eval_split'] = 'held_out'
  with pytest.raises(schema.ConfigError, match='learns from images'):
    loop.train(config, tmp_path / 'again')


def test_the_command(tokenizer, source, written, tmp_path, capsys):
  out = tmp_path / 'tokens'
  argv = ['tokenize', tokenizer, '--data', source, '--out', str(out)]
  argv += ['--split', 'train', '--split', 'held_out=train[:20]']
  assert cli.main(argv) == 0
  assert 'tokens of 48 in train, 20 in held_out' in capsys.readouterr().out
  here, there = (
    data.open_source(f'tokens:{folder}', 'held_out')
    for folder in (out, written)
  )
  rows = np.arange(20)
  np.testing.assert_array_equal(
    here.batch(rows)['tokens'], there.batch(rows)['tokens']
  )
  assert cli.main([*argv, '--seed', '1']) == 1
  error = capsys.readouterr().err
  assert 'error: ' in error and 'seed: 0 there, 1 here' in error
