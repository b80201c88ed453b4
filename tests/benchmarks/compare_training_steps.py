"""The time of a VQGAN's training step beside PyTorch's, in one run.

    python -m tests.benchmarks.compare_training_steps

A small VQGAN with L1, LPIPS, PatchGAN and adaptive weight, float32, on 64 x 64
images: this library's step, and the same in plain torch layers, with the same
sizes and batch, on all cores, in turns. Needs torch. Prints the best times.
"""

import argparse
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

from tests.benchmarks import torch_vqgan
from train import config as config_lib
from train import devices
from train import intervals
from train import optim as optim_lib
from train import sharding
from train import state as state_lib
from train import step as step_lib
from train.tasks import adversarial
from train.tasks import autoencoder
from train.tasks import base
from train.tasks import discriminator
from vq_jax import features
from vq_jax import losses
from vq_jax.config import schema

MODEL = {
  'channels': 32,
  'multipliers': (1, 2, 4),
  'blocks': 1,
  'z_channels': 64,
}
CODES = {'codebook_size': 1024, 'code_dim': 64}
DISCRIMINATOR = {'channels': 32, 'layers': 3}
WEIGHT = 0.8


def config() -> dict:
  """Returns the config of our side."""
  return {
    'task': 'adversarial',
    'data': {'source': 'none'},
    'model': {
      'type': 'vqgan_taming',
      **MODEL,
      'attention_strides': (),
      'groups': torch_vqgan.GROUPS,
      'quantizer': {'type': 'vq', 'legacy': True, **CODES},
    },
    'loss': {'l1': 2.0, 'l2': 0.0, 'lpips': 1.0},
    'optim': {'learning_rate': 1e-4, 'b1': 0.5, 'b2': 0.9},
    'train': {'total_steps': 100},
    'adversary': {
      'discriminator': {'type': 'patchgan', **DISCRIMINATOR},
      'weight': WEIGHT,
      'adaptive': True,
    },
  }


def ours():
  """Returns what trains one step, and waits for it."""
  parsed = config_lib.parse_config(config())
  run_config = {
    'config': config(),
    'dataset': {'image_shape': (64, 64, 3), 'class_names': ['all']},
  }
  optim = parsed.optim
  plan = intervals.Intervals.create(parsed.train, steps_per_epoch=1)
  schedule = optim_lib.make_schedule(optim, plan)
  optimizer = optim_lib.make_optimizer(optim, schedule)
  lpips = losses.LPIPS(features.VGG16())
  image = jnp.zeros((1, 64, 64, 3))
  setup = base.Setup(
    config=parsed,
    run_config=run_config,
    folder=None,
    source=None,
    intervals=plan,
  )
  task = adversarial.AdversarialTask(
    model=autoencoder.make_model(setup),
    config=parsed.loss,
    perceptual={'lpips': lpips},
    perceptual_variables={
      'lpips': jax.jit(lpips.init)(jax.random.key(0), image, image)
    },
    discriminator=discriminator.Discriminator.create(setup, parsed.adversary),
    start=0,
    warmup=0,
    discriminator_start=0,
  )
  runner = sharding.make_runner(schema.ParallelConfig())
  state = runner.put(
    state_lib.TrainState.create(
      jax.jit(task.init)(jax.random.key(0)),
      optimizer,
      with_ema=False,
      frozen=task.frozen,
      auxiliary=jax.jit(task.init_auxiliary)(jax.random.key(1)),
    )
  )
  step = runner.compile(
    step_lib.make_step(
      task, task.get_phase(0), optimizer, optim, seed=0, schedule=schedule
    ),
    state,
  )
  states = {'state': runner.place(state)}

  def run(image: np.ndarray) -> None:
    states['state'], metrics = step(
      states['state'], runner.transfer({'image': image})
    )
    assert np.isfinite(metrics['loss'])

  return run


def torchs():
  """Returns what trains one step of the peer."""
  import torch

  trainer = torch_vqgan.Trainer({**MODEL, **CODES}, DISCRIMINATOR, WEIGHT)

  def run(image: np.ndarray) -> None:
    tensor = torch.from_numpy(image.transpose(0, 3, 1, 2).copy())
    assert np.isfinite(trainer.step(tensor.float() / 127.5 - 1))

  return run


def main(argv: list[str] | None = None) -> int:
  """Runs the command; returns the exit code."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--batch', type=int, default=8)
  parser.add_argument('--turns', type=int, default=5)
  arguments = parser.parse_args(argv)
  devices.use_cpu_cores(arguments.batch, 1 << 20)
  rng = np.random.default_rng(0)
  image = rng.integers(0, 256, (arguments.batch, 64, 64, 3), dtype=np.uint8)
  players = {'vq_jax': ours(), 'torch': torchs()}
  seconds = {name: [] for name in players}
  for turn in range(arguments.turns + 1):
    for name, run in players.items():
      run(image)  # warm again after the other's turn
      began = time.perf_counter()
      for _ in range(3):
        run(image)
      if turn:
        seconds[name].append((time.perf_counter() - began) / 3)
  best = {name: min(times) for name, times in seconds.items()}
  for name, time_s in best.items():
    print(f'{name}: {1e3 * time_s:.0f} ms for a step of {arguments.batch}')
  print(f'torch / vq_jax: {best["torch"] / best["vq_jax"]:.2f}')
  return 0


if __name__ == '__main__':
  sys.exit(main())
