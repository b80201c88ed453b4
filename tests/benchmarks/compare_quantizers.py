"""All quantizers at one small budget: reconstruction, use of codes, time.

    python -m tests.benchmarks.compare_quantizers --workdir runs/quantizers

or some of them, beside plain VQ, with `--only bsq --only lfq`. Each is trained
at its default settings with the same backbones, batches and steps on the
embedded images; then the steps of all are timed in turns, and the best turn of
each is compared with that of plain VQ. Prints a table and writes it to
`table.md`. Stopped or killed, the same command goes on.
"""

import argparse
import pathlib
import sys
import tempfile
import time

import jax

from train import config as config_lib
from train import errors
from train import loop
from train import run
from train.logging import writers
from vq_jax.utils import paths

CONFIG = 'configs/quickstart_tokenizer.py'
TABLE = {'codebook_size': 512, 'code_dim': 16}
EMA = {'type': 'ema_vq', **TABLE}
QUANTIZERS = {
  'vq': {'type': 'vq', **TABLE},
  'ema_vq': EMA,
  'ema_vq, k-means, revival': {
    **EMA,
    'kmeans_iterations': 5,
    'dead_code_threshold': 0.1,
  },
  'ema_vq, rotation': {**EMA, 'gradient_estimator': 'rotation'},
  'factorized_vq': {'type': 'factorized_vq', **TABLE},
  'gumbel': {'type': 'gumbel', **TABLE},
  'fsq': {'type': 'fsq', 'levels': (8, 8, 8)},
  'lfq': {'type': 'lfq', 'bits': 9},
  'bsq': {'type': 'bsq', 'bits': 9},
  'residual, 2 x ema_vq': {'type': 'residual', 'levels': 2, 'quantizer': EMA},
  'grouped, 2 x ema_vq': {
    'type': 'grouped',
    'groups': 2,
    'quantizer': {**EMA, 'code_dim': 8},
  },
  'simvq': {'type': 'simvq', **TABLE},
  'ibq': {'type': 'ibq', **TABLE},
}
TURNS, STEPS_IN_A_TURN = 12, 10


def make_config(quantizer: dict, steps: int):
  """Returns the config that all share, with a quantizer in it."""
  config = config_lib.load_config(CONFIG)
  config['model']['quantizer'] = quantizer
  config['loss'] = {'l2': 1.0, 'quantizer': 1.0}
  config['optim']['learning_rate'] = 2e-3
  config['train']['total_steps'] = steps
  config['train']['log_every'] = {'steps': 100}
  config['train']['eval_every'] = {'percent': 100}
  config['train']['save_every'] = {'percent': 100}
  return config


def prepared(config):
  """Returns a compiled step, its first state and a batch."""
  with (
    tempfile.TemporaryDirectory() as folder,
    run.open_run(config, folder) as opened,
  ):
    step = loop.Loop(opened).get_step()
    return step, opened.state, next(opened.batches)


def best_times(configs: dict) -> dict[str, float]:
  """Returns the seconds of a step of each, the best of many short turns."""
  ready = {name: prepared(config) for name, config in configs.items()}
  best = dict.fromkeys(ready, float('inf'))
  for turn in range(TURNS + 1):
    for name, (step, state, batch) in ready.items():
      began = time.perf_counter()
      for _ in range(STEPS_IN_A_TURN):
        state, metrics = step(state, batch)
      jax.block_until_ready(metrics)
      ready[name] = step, state, batch
      if turn:  # the first turn compiles
        seconds = (time.perf_counter() - began) / STEPS_IN_A_TURN
        best[name] = min(best[name], seconds)
  return best


def table(results: dict, seconds: dict[str, float]) -> str:
  """Returns the table as Markdown."""
  lines = [
    '| quantizer | PSNR, dB | usage | perplexity | step time |',
    '|---|---|---|---|---|',
  ]
  for name, found in results.items():
    lines.append(
      f'| {name} | {found["psnr"]:.2f} | {found["dataset_usage"]:.0%} | '
      f'{found["dataset_perplexity"]:.0f} | '
      f'{seconds[name] / seconds["vq"]:.2f} |'
    )
  return '\n'.join(lines) + '\n'


def main(argv: list[str] | None = None) -> int:
  """Runs the command; returns the exit code."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--workdir', type=pathlib.Path, required=True)
  parser.add_argument('--steps', type=int, default=1000)
  parser.add_argument('--only', action='append', choices=tuple(QUANTIZERS))
  arguments = parser.parse_args(argv)

  def go():
    wanted = {'vq', *(arguments.only or QUANTIZERS)}
    configs = {
      name: make_config(quantizer, arguments.steps)
      for name, quantizer in QUANTIZERS.items()
      if name in wanted
    }
    results = {}
    for name, config in configs.items():
      folder = arguments.workdir / name.replace(', ', '_').replace(' ', '')
      loop.train(config, folder)
      results[name] = writers.last_evaluation(folder)
    text = table(results, best_times(configs))
    paths.write_text(arguments.workdir / 'table.md', text)
    print(text)

  return errors.run_with_error_messages(go)


if __name__ == '__main__':
  sys.exit(main())
