"""Between two lines of metrics, the host transfers nothing and is ahead."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.train import tiny_configs
from train import loop
from train import run as run_lib
from train.logging import window as window_lib
from vq_jax import data


@pytest.mark.parametrize(
  ('parallel', 'on_nonfinite'),
  [({'data': 4, 'fsdp': 2}, 'skip'), ({'mode': 'pmap'}, 'stop')],
  ids=['mesh', 'pmap'],
)
def test_steps_transfer_nothing_implicitly(
  parallel, on_nonfinite, source, tmp_path
):
  """Batches reach the devices before the step, and metrics stay on them."""
  config = tiny_configs.autoencoder(source, on_nonfinite=on_nonfinite)
  config['parallel'] = parallel
  with run_lib.open_run(config, tmp_path) as run:
    trainer = loop.Loop(run)
    for _ in range(2):  # compiles the step, and the sum of the code counts
      trainer._take_step()
    with jax.transfer_guard('disallow'):
      for _ in range(3):
        trainer._take_step()


class SlowSource(data.ArraySource):
  """A batch of it takes two hundredths of a second."""

  def batch(self, indices):
    time.sleep(0.02)
    return super().batch(indices)


def test_the_loop_waits_for_no_batch_that_was_read_during_a_step():
  """A step takes three times as long as reading its batch."""
  source = SlowSource(np.zeros((8, 4, 4, 1), np.uint8))
  waits = []
  for prefetch in (2, 0):
    window = window_lib.Window(0, batch_size=2)
    with data.train_batches(
      source, batch_size=2, seed=0, prefetch=prefetch
    ) as batches:
      next(batches)
      window.restart_clock()
      for _ in range(8):
        with window.waiting_for_data():
          next(batches)
        time.sleep(0.06)
        window.add({'loss': jnp.float32(0)})
    waits.append(window.flush()['data_wait'])
  assert waits[0] < 0.1
  assert 0.15 < waits[1] < 1


@pytest.mark.slow
def test_dropout_by_the_generator_of_the_hardware(source, tokenizer, tmp_path):
  """A run is repeatable; another generator draws other masks."""
  metrics = {}
  for name, rng in (('a', 'rbg'), ('b', 'rbg'), ('c', 'threefry2x32')):
    config = tiny_configs.prior(source, tokenizer, dropout_rng=rng)
    config['model']['transformer']['dropout'] = 0.5
    with run_lib.open_run(config, tmp_path / name) as run:
      metrics[name] = loop.Loop(run)._take_step()
      step = loop.Loop(run).get_step().lower(run.state, next(run.batches))
    assert ('rng_bit_generator' in step.as_text()) == (rng == 'rbg')
  assert metrics['a']['loss'] == metrics['b']['loss'] != metrics['c']['loss']
