"""A run may train longer; changes of the steps that are done are refused."""

import json
import shutil

import pytest

from tests.train import tiny_configs
from tests.train.saving import assert_same
from tests.train.saving import saved
from train import loop
from vq_jax.config import schema
from vq_jax.runs import layout


@pytest.fixture
def config(source):
  config = tiny_configs.autoencoder(source)
  config['optim'] |= {'schedule': 'constant'}
  return config


@pytest.fixture(scope='module')
def trained(source, tmp_path_factory):
  """The run of that config; copies of it are trained longer."""
  folder = tmp_path_factory.mktemp('trained') / 'run'
  config = tiny_configs.autoencoder(source)
  config['optim'] |= {'schedule': 'constant'}
  loop.train(config, folder)
  return folder


@pytest.fixture
def run(trained, tmp_path):
  return shutil.copytree(trained, tmp_path / 'run')


def changed(config, **train):
  return {**config, 'train': {**config['train'], **train}}


def test_a_finished_run_trains_longer_and_is_the_longer_run_to_the_bit(
  config, run, tmp_path, capsys
):
  longer = changed(config, total_steps=12)
  loop.train(longer, tmp_path / 'whole')
  loop.train(longer, run)
  assert 'takes 12 steps instead of 8' in capsys.readouterr().err
  assert_same(saved(tmp_path / 'whole'), saved(run))
  written = layout.read_config(run)
  assert written['config']['train']['total_steps'] == 12
  assert written['changes'] == [
    {'step': 8, 'keys': {'train.total_steps': [8, 12]}}
  ]


def test_a_longer_schedule_is_reported(source, tokenizer, tmp_path, capsys):
  config = tiny_configs.autoencoder(source)
  folder = shutil.copytree(tokenizer, tmp_path / 'run')
  # 12 epochs of 48 images in batches of 16 are 36 steps.
  loop.train(changed(config, total_steps=None, total_epochs=12), folder)
  said = capsys.readouterr().err
  assert 'takes 36 steps instead of 8. The learning rate (cosine)' in said
  assert 'at step 8 the learning rate is 0.00' in said
  assert 'instead of 0.\n' in said


def test_logging_and_devices_may_change_and_are_recorded(config, run):
  other = changed(config, log_every={'steps': 3}, save_every={'steps': 5})
  other['parallel'] = {**config['parallel'], 'mode': 'pmap'}
  loop.train(other, run)
  (record,) = layout.read_config(run)['changes']
  assert record['step'] == 8
  assert set(record['keys']) == {
    'parallel.mode',
    'train.log_every.steps',
    'train.save_every.steps',
  }


def test_a_shorter_training_is_refused(config, run):
  before = (run / 'config.json').read_text()
  with pytest.raises(
    schema.ConfigError, match='8 steps, and 7 .*config.init_from='
  ):
    loop.train(changed(config, total_steps=7), run)
  assert (run / 'config.json').read_text() == before


def test_a_changed_optimizer_is_refused_with_a_remedy(config, run):
  other = json.loads(json.dumps(config))
  other['optim']['learning_rate'] = 1e-3
  with pytest.raises(layout.RunError, match='config.init_from=') as error:
    loop.train(other, run)
  assert 'optim.learning_rate: 0.003 there, 0.001 here' in str(error.value)
