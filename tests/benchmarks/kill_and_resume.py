"""Runs that are killed on the way end as undisturbed ones, to the bit.

    python -m tests.benchmarks.kill_and_resume --workdir runs/killed
    python -m tests.benchmarks.kill_and_resume --workdir runs/killed --times 50

The first command trains the quickstart's tokenizer, smaller, for 6,000 steps
with a discriminator from step 2,000 on: once undisturbed, and once killed
(SIGKILL) at two moments and started again. With `--times`, a tiny one is
killed that often, at random moments: while it starts, between two saves, and
during a save; `--processes 2` trains it with two processes. Both compare
everything that the two runs have saved, bit by bit.
"""

import argparse
import collections
import pathlib
import random
import socket
import subprocess
import sys
import time

import numpy as np

from tests.train import saving
from tests.train import tiny_configs
from train import errors
from train.logging import writers
from vq_jax.runs import layout
from vq_jax.utils import cpu

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


# A process of a tiny run, whose steps take long enough to be killed in them.
TINY = """
import sys
import time
import jax
index, processes, port, source, workdir, steps = sys.argv[1:]
jax.config.update('jax_num_cpu_devices', 1)
if int(processes) > 1:
  jax.config.update('jax_cpu_collectives_implementation', 'gloo')
  jax.distributed.initialize(f'localhost:{port}', int(processes), int(index))
from tests.train import tiny_configs
from train import errors, loop
from vq_jax.data import pipeline
read = pipeline.TrainIterator.__next__
def read_slowly(self):
  time.sleep(0.02)
  return read(self)
pipeline.TrainIterator.__next__ = read_slowly
config = tiny_configs.autoencoder(
  source, total_steps=int(steps), log_every={'steps': 1},
  eval_every={'percent': 100}, save_every={'steps': 7})
config['parallel'] = {}
sys.exit(errors.run_with_error_messages(lambda: loop.train(config, workdir)))
"""

STEPS_PER_KILL = 8
STARTING_SECONDS = 6.0


def start(config: pathlib.Path, folder: pathlib.Path) -> subprocess.Popen:
  """Starts the training of a run folder, or goes on with it."""
  command = [sys.executable, '-m', 'train.main', '--config', str(config)]
  return subprocess.Popen([*command, '--workdir', str(folder)])


def last_step(folder: pathlib.Path) -> int:
  """Returns the last step that a run has written metrics of."""
  if not (folder / layout.METRICS).is_file():
    return 0
  return max((r['step'] for r in writers.read_metrics(folder)), default=0)


def kill_after(step: int, config: pathlib.Path, folder: pathlib.Path) -> None:
  """Trains until a step is past, then kills the process in its tracks."""
  process = start(config, folder)
  wait_for_step(step, folder, process)
  process.kill()
  process.wait()
  print(f'killed after step {last_step(folder)}')


def wait_for_step(step: int, folder: pathlib.Path, process) -> None:
  """Waits until a step is past, or raises RuntimeError if the run ends."""
  while last_step(folder) < step:
    if process.poll() is not None:
      raise RuntimeError(f'the run ended before it could be killed at {step}.')
    time.sleep(0.01)


def start_tiny(
  folder: pathlib.Path, source: str, steps: int, processes: int
) -> list[subprocess.Popen]:
  """Starts the processes of a tiny run, or goes on with it."""
  with socket.socket() as free:
    free.bind(('localhost', 0))
    port = free.getsockname()[1]
  rest = [str(x) for x in (processes, port, source, folder, steps)]
  return [
    subprocess.Popen(
      [sys.executable, '-c', TINY, str(i), *rest],
      stdout=subprocess.DEVNULL,
      stderr=open(folder.with_suffix(f'.{i}.log'), 'a'),
    )
    for i in range(processes)
  ]


def is_saving(folder: pathlib.Path) -> bool:
  """Returns whether there is a checkpoint that is not complete."""
  return any((folder / layout.CHECKPOINTS).glob('*.orbax-checkpoint-tmp*'))


def kill_at_random(
  step: int, folder: pathlib.Path, processes: list[subprocess.Popen]
) -> str:
  """Kills all processes of a run, one after another; returns when it was."""
  if last_step(folder) >= step:
    moment = 'start'
    time.sleep(random.uniform(0, STARTING_SECONDS))
  else:
    moment = 'step'
    wait_for_step(step, folder, processes[0])
    if random.random() < 0.5:
      while not is_saving(folder) and processes[0].poll() is None:
        time.sleep(0.001)
    time.sleep(random.uniform(0, 0.05))
  random.shuffle(processes)
  for process in processes:
    process.kill()
    time.sleep(random.choice([0, 0, random.uniform(0, 0.3)]))
  for process in processes:
    process.wait()
  return 'save' if moment == 'step' and is_saving(folder) else moment


def kill_often(workdir: pathlib.Path, times: int, processes: int) -> None:
  """Kills a tiny run so often, and compares it with an undisturbed one."""
  source = tiny_configs.write_images(workdir)
  steps = STEPS_PER_KILL * (times + 5)
  whole, killed = (workdir / f'{n}_{processes}' for n in ('whole', 'killed'))
  finish(start_tiny(whole, source, steps, processes))
  targets = sorted(
    random.randrange(1, STEPS_PER_KILL * times) for _ in range(times)
  )
  moments = collections.Counter()
  for i, target in enumerate(targets, 1):
    running = start_tiny(killed, source, steps, processes)
    moment = kill_at_random(target, killed, running)
    moments[moment] += 1
    print(f'{i}: killed ({moment}), step {last_step(killed)}', flush=True)
  finish(start_tiny(killed, source, steps, processes))
  print(f'{sum(moments.values())} kills: {dict(moments)}')
  compare(whole, killed)


def finish(processes: list[subprocess.Popen]) -> None:
  """Waits for the processes of a run, which must succeed."""
  if any([process.wait() for process in processes]):
    raise RuntimeError('a run failed; see the logs in the work folder.')


def compare(whole: pathlib.Path, killed: pathlib.Path) -> None:
  """Raises RuntimeError unless two runs have saved and logged the same."""
  a, b = saving.saved(whole), saving.saved(killed)
  differing = [
    name
    for name in sorted({*a, *b})
    if not (name in a and name in b and np.array_equal(a[name], b[name]))
  ]
  print(f'{len(a)} arrays at step {a["step"]}, {len(differing)} differ')
  one, two = (get_losses(folder) for folder in (whole, killed))
  print(f'{len(one)} lines of metrics, the same: {one == two}')
  if differing:
    raise RuntimeError(f'the runs differ in {differing[:3]}')


def get_losses(folder: pathlib.Path) -> list[tuple[int, float]]:
  """Returns the step and the loss of each line of training metrics."""
  records = writers.read_metrics(folder)
  return [(r['step'], r['loss']) for r in records if r['kind'] == 'train']


def main(argv: list[str] | None = None) -> int:
  """Runs the command; returns the exit code."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--workdir', type=pathlib.Path, required=True)
  parser.add_argument('--times', type=int, help='kills of a tiny run')
  parser.add_argument('--processes', type=int, default=1)
  parser.add_argument('--seed', type=int, default=0)
  arguments = parser.parse_args(argv)
  whole, killed = (arguments.workdir / name for name in ('whole', 'killed'))

  def go():
    arguments.workdir.mkdir(parents=True, exist_ok=True)
    if arguments.times:
      random.seed(arguments.seed)
      kill_often(arguments.workdir, arguments.times, arguments.processes)
      return
    config = arguments.workdir / 'config.py'
    config.write_text(CONFIG)
    start(config, whole).wait()
    for step in (1800, 3900):
      if last_step(killed) < step:
        kill_after(step, config, killed)
    start(config, killed).wait()
    cpu.use_cpu_cores(16, 200)  # as the runs did, to read what they saved
    compare(whole, killed)

  return errors.run_with_error_messages(go)


if __name__ == '__main__':
  sys.exit(main())
