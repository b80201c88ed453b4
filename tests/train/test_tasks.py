"""A task is found by its name or by the path of its module."""

import pytest

import vq_jax
from tests.train import tiny_configs
from train import evaluate
from train import loop
from train import tasks
from train.logging import writers
from vq_jax.config import schema


def test_a_task_of_ones_own_is_trained_loaded_and_evaluated(source, tmp_path):
  config = tiny_configs.autoencoder(source)
  config['task'] = 'tests.train.penalized_autoencoder'
  trained = loop.train(config, tmp_path)
  penalties = [
    record['penalty']
    for record in writers.read_metrics(tmp_path)
    if record['kind'] == 'train'
  ]
  assert penalties[-1] < penalties[0]
  assert vq_jax.load(tmp_path).reconstruct is not None
  found = evaluate.evaluate(tmp_path, {}).metrics
  assert found['psnr'] == pytest.approx(trained['psnr'], rel=1e-4)


@pytest.mark.parametrize(
  ('name', 'message'),
  [
    ('autoencode', "Did you mean 'autoencoder'"),
    ('base', 'Valid: adversarial, autoencoder, autoregressive, maskgit'),
    (None, 'unknown config.task None'),
    ('no.such.module', 'cannot be imported'),
    ('train.loop', 'must define Config, make_task and load_task'),
  ],
)
def test_an_unknown_task_is_named(name, message):
  with pytest.raises(schema.ConfigError, match=message):
    tasks.get_task_module(name)
