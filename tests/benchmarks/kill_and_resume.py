"""A long run against a discriminator, killed on the way, ends to the bit.

    python -m tests.benchmarks.kill_and_resume --workdir runs/killed

Trains the quickstart's tokenizer, smaller, for 6,000 steps with a discriminator
from step 2,000 on: once undisturbed, and once killed (SIGKILL) at two moments
and started again. Compares everything that both have saved, bit by bit. Stopped
or killed itself, it begins again with the run that is not done.
"""

import argparse
import pathlib
import subprocess
import sys
import time

import numpy as np

from tests.train import saving
from train import devices
from train import errors
from train.logging import writers

CONFIG = """
import importlib.util


def get_config(variant=''):
  spec = importlib.util.spec_from_file_location(
    'quickstart', 'configs/quickstart_tokenizer.py'
  )
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  config = module.get_config(variant)
  config['adversary'] = {
    'discriminator': {'type': 'patchgan', 'channels': 16, 'layers': 2},
    'weight': 0.5,
    'adaptive': True,
    'start': {'steps': 2000},
    'discriminator_start': {'steps': 1500},
    'lecam': 0.001,
    'optim': {'learning_rate': 1e-3, 'weight_decay': 0.0},
  }
  config['data']['batch_size'] = 16
  for part in ('encoder', 'decoder'):
    config['model'][part]['blocks'] = 1
  config['train']['total_steps'] = 6000
  config['train']['eval_every'] = {'steps': 2000}
  config['train']['save_every'] = {'steps': 300}
  return config
"""


def start(config: pathlib.Path, folder: pathlib.Path) -> subprocess.Popen:
  """Starts the training of a run folder, or goes on with it."""
  command = [sys.executable, '-m', 'train.main', '--config', str(config)]
  return subprocess.Popen([*command, '--workdir', str(folder)])


def last_step(folder: pathlib.Path) -> int:
  """Returns the last step that a run has written metrics of."""
  if not (folder / writers.METRICS).is_file():
    return 0
  return max((r['step'] for r in writers.read_metrics(folder)), default=0)


def kill_after(step: int, config: pathlib.Path, folder: pathlib.Path) -> None:
  """Trains until a step is past, then kills the process in its tracks."""
  process = start(config, folder)
  while last_step(folder) < step:
    if process.poll() is not None:
      raise RuntimeError(f'the run ended before it could be killed at {step}.')
    time.sleep(0.1)
  process.kill()
  process.wait()
  print(f'killed after step {last_step(folder)}')


def main(argv: list[str] | None = None) -> int:
  """Runs the command; returns the exit code."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--workdir', type=pathlib.Path, required=True)
  arguments = parser.parse_args(argv)
  whole, killed = (arguments.workdir / name for name in ('whole', 'killed'))

  def go():
    arguments.workdir.mkdir(parents=True, exist_ok=True)
    config = arguments.workdir / 'config.py'
    config.write_text(CONFIG)
    start(config, whole).wait()
    for step in (1800, 3900):
      if last_step(killed) < step:
        kill_after(step, config, killed)
    start(config, killed).wait()
    devices.use_cpu_cores(16, 200)  # as the runs did, to read what they saved
    a, b = saving.saved(whole), saving.saved(killed)
    differing = [name for name in a if not np.array_equal(a[name], b[name])]
    print(f'{len(a)} arrays at step {a["step"]}, {len(differing)} differ')
    if differing or a.keys() != b.keys():
      raise RuntimeError(f'the runs differ in {differing[:3]}')

  return errors.run_with_error_messages(go)


if __name__ == '__main__':
  sys.exit(main())
