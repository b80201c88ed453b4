"""What programs cost, counted: a change that makes them dearer is noticed.

The numbers in `counts.json` are of tiny models on eight devices of the CPU. If
a change of them is meant, they are counted again by

    python -m tests.train.test_counts
"""

import dataclasses
import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from tests.benchmarks.speed import training as training_lib
from train import sharding
from train.planning import abstract
from train.planning import figures as figures_lib
from train.planning import programs
from vq_jax.config import schema
from vq_jax.inference import codec
from vq_jax.inference import generate

ROOT = pathlib.Path(__file__).parents[2]
FILE = pathlib.Path(__file__).with_name('counts.json')
DEVICES, BATCH = 8, 16
CONFIGS = {
  'VQ-VAE': 'quickstart_tokenizer',
  'VQGAN': 'vqgan_f16_1024_imagenet256',
  'ViT-VQGAN': 'vit_vqgan_small_imagenet256',
  'MaskGIT': 'quickstart_maskgit',
  'autoregressive transformer': 'vqgan_transformer_f16_1024_imagenet256',
  'PixelCNN': 'pixelcnn_cifar10',
}
PRIORS = ('MaskGIT', 'autoregressive transformer', 'PixelCNN')


def open_training(name: str) -> abstract.Training:
  path = ROOT / f'configs/{CONFIGS[name]}.py'
  return training_lib.open_training(f'{path}:smoke', tokens=name in PRIORS)


def count(name: str) -> dict:
  """Counts what a training step costs."""
  training = open_training(name)
  runner = sharding.make_runner(
    schema.ParallelConfig(), jax.devices()[:DEVICES]
  )
  phase = training.task.get_phase(training.intervals.total - 1)
  found = figures_lib.compile_program(
    programs.trace_step(training, runner, phase, BATCH)
  )
  return {
    'flops': found.flops,
    'temporaries': found.memory.temporaries,
    'collectives': {
      kind: [traffic.number, traffic.bytes]
      for kind, traffic in found.traffic.items()
    },
  }


@pytest.mark.slow
@pytest.mark.parametrize('name', CONFIGS)
def test_a_training_step_costs_what_it_did(name):
  recorded = json.loads(FILE.read_text())[name]
  found = count(name)
  assert found['flops'] == recorded['flops']
  # Both follow the version of the compiler a little.
  assert found['temporaries'] < 1.15 * recorded['temporaries']
  assert found['collectives'].keys() == recorded['collectives'].keys()
  for kind, (number, size) in found['collectives'].items():
    most, most_bytes = recorded['collectives'][kind]
    assert number <= most, kind
    assert size <= 1.02 * most_bytes, kind


@pytest.mark.parametrize('name', ['VQ-VAE', 'MaskGIT'])
def test_a_step_is_compiled_once(name):
  training = open_training(name)
  runner = sharding.make_runner(schema.ParallelConfig(data=1))
  state = training_lib.make_state(training, runner, 0)
  step = runner.compile(training.get_step(training.task.get_phase(0)), state)
  rng = np.random.default_rng(1)
  losses = []
  for _ in range(3):
    batch = training_lib.make_batch(training, 4)
    batch = {key: rng.permutation(x) for key, x in batch.items()}
    state, metrics = step(state, runner.transfer(batch))
    losses.append(float(metrics['loss']))
  assert step._cache_size() == 1
  assert len(set(losses)) == 3 and int(state.step) == 3


@pytest.mark.parametrize('name', PRIORS)
def test_sampling_is_compiled_once(name):
  training = open_training(name)
  model, state = training.task.model, training.state
  own = {training.task.trained: state.variables}
  model = dataclasses.replace(
    model, variables=training_lib.make_arrays({**state.frozen, **own})
  )
  for function in (generate.sample_tokens, codec.decode_tokens):
    function.clear_cache()
  for seed, num in enumerate((2, 3, 5)):
    images = model.generate(seed, labels=seed, num=num, batch_size=2)
    assert len(images) == num
  for function in (generate.sample_tokens, codec.decode_tokens):
    assert function._cache_size() == 1


def count_cycles() -> int:
  """Returns the cycles that the compiler of TPUs estimates of a step."""
  done = subprocess.run(
    [sys.executable, '-m', 'train.plan', '--json', '--topology=v5e:2x2']
    + [f'--config=configs/{CONFIGS["MaskGIT"]}.py:smoke'],
    # libtpu does not know all flags that the tests set for the CPU.
    env={**os.environ, 'XLA_FLAGS': ''},
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  (step,) = json.loads(done.stdout)['programs']
  return step['cycles']


@pytest.mark.slow
@pytest.mark.skipif(
  importlib.util.find_spec('libtpu') is None, reason='needs libtpu'
)
def test_a_step_takes_as_many_cycles_of_a_tpu_as_it_did():
  recorded = json.loads(FILE.read_text())['cycles of a v5e']
  assert count_cycles() < 1.05 * recorded


if __name__ == '__main__':
  # The flags of the compiler and the devices are those of the tests.
  importlib.import_module('tests.conftest')
  numbers = json.loads(FILE.read_text()) if FILE.exists() else {}
  numbers |= {name: count(name) for name in CONFIGS}
  if importlib.util.find_spec('libtpu') is not None:
    numbers['cycles of a v5e'] = count_cycles()
  FILE.write_text(json.dumps(numbers, indent=2) + '\n')
