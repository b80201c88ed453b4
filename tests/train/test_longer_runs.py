"""A run may train longer; what would change its past is refused."""

import json

import pytest

from tests.train import cards
from tests.train.saving import assert_same
from tests.train.saving import saved
from train import loop
from train import settings as settings_lib
from vq_jax import checkpoints


@pytest.fixture
def card(source):
  card = cards.autoencoder(source)
  card['optim'] |= {'schedule': 'constant'}
  return card


def changed(card, **train):
  return {**card, 'train': {**card['train'], **train}}


def test_a_finished_run_trains_longer_and_is_the_longer_run_to_the_bit(
  card, tmp_path, capsys
):
  longer = changed(card, duration={'steps': 12})
  loop.train(longer, tmp_path / 'whole')
  loop.train(card, tmp_path / 'parts')
  loop.train(longer, tmp_path / 'parts')
  assert 'trains for 12 steps instead of 8' in capsys.readouterr().err
  assert_same(saved(tmp_path / 'whole'), saved(tmp_path / 'parts'))
  config = checkpoints.read_config(tmp_path / 'parts')
  assert config['card']['train']['duration'] == {'steps': 12}
  assert config['changes'] == [
    {'step': 8, 'keys': {'train.duration': [{'steps': 8}, {'steps': 12}]}}
  ]


def test_a_longer_schedule_is_stated(source, tmp_path, capsys):
  card = cards.autoencoder(source)
  loop.train(card, tmp_path)
  # 12 epochs of 48 images in batches of 16 are 36 steps.
  loop.train(changed(card, duration={'epochs': 12}), tmp_path)
  said = capsys.readouterr().err
  assert 'trains for 36 steps instead of 8; the learning rate (cosine)' in said
  assert 'at step 8 it is 0.00' in said and 'where it was 0\n' in said


def test_what_a_run_shows_of_itself_may_change_and_is_recorded(card, tmp_path):
  loop.train(card, tmp_path)
  other = changed(card, log_every={'steps': 3}, save_every={'steps': 5})
  other['parallel'] = {'mode': 'pmap'}
  loop.train(other, tmp_path)
  (record,) = checkpoints.read_config(tmp_path)['changes']
  assert record['step'] == 8
  assert set(record['keys']) == {
    'parallel',
    'train.log_every',
    'train.save_every',
  }


def test_a_shorter_training_is_refused(card, tmp_path):
  loop.train(card, tmp_path)
  before = (tmp_path / 'config.json').read_text()
  with pytest.raises(
    settings_lib.ConfigError, match='8 steps, and 7 .*config.init_from='
  ):
    loop.train(changed(card, duration={'steps': 7}), tmp_path)
  assert (tmp_path / 'config.json').read_text() == before


def test_what_changes_the_past_names_another_way(card, tmp_path):
  loop.train(card, tmp_path)
  other = json.loads(json.dumps(card))
  other['optim']['learning_rate'] = 1e-3
  with pytest.raises(checkpoints.RunError, match='config.init_from=') as error:
    loop.train(other, tmp_path)
  assert 'optim.learning_rate: 0.003 there, 0.001 here' in str(error.value)
