"""Trains a config card: `python -m train.main --config FILE --workdir DIR`.

Stopped or killed, the same command goes on where the run was saved.
"""

import argparse
import errno
import logging
import sys

from train import config as config_lib
from train import loop
from train import preemption
from train import settings as settings_lib
from train import sharding
from train.logging import window as window_lib
from vq_jax import checkpoints
from vq_jax import data
from vq_jax.config import registry
from vq_jax.utils import console

USER_ERRORS = (
  registry.SpecError,
  checkpoints.RunError,
  settings_lib.ConfigError,
  data.DataError,
  window_lib.DivergedError,
  OSError,
  ValueError,
)


def parse_arguments(argv: list[str]):
  """Returns the arguments, and the overrides [(key, text)].

  Exits with a message if an argument is unknown.
  """
  parser = argparse.ArgumentParser(
    prog='python -m train.main',
    description='Train a model, or go on with a run that was stopped.',
    epilog='Any leaf of the card can be overridden: '
    '--config.optim.learning_rate=1e-4 --config.parallel.mode=pmap',
    allow_abbrev=False,
  )
  parser.add_argument(
    '--config',
    required=True,
    metavar='FILE[:VARIANT]',
    help='a config card, e.g. configs/quickstart_tokenizer.py; with :smoke it '
    'shrinks to a test of a few seconds',
  )
  parser.add_argument(
    '--workdir',
    required=True,
    metavar='DIR',
    help='the run folder: checkpoints, metrics, samples, report.html',
  )
  arguments, rest = parser.parse_known_args(argv)
  overrides = []
  for text in rest:
    key, equals, value = text.partition('=')
    if not key.startswith('--config.') or not equals:
      parser.error(
        f'unknown argument {text!r}; overrides are written '
        '--config.section.key=value'
      )
    overrides.append((key.removeprefix('--config.'), value))
  return arguments, overrides


def main(argv: list[str] | None = None) -> int:
  """Runs the command; returns the exit code."""
  arguments, overrides = parse_arguments(sys.argv[1:] if argv is None else argv)
  sharding.initialize_distributed()

  def run():
    card = config_lib.load_card(arguments.config)
    for key, text in overrides:
      config_lib.override(card, key, text)
    loop.train(card, arguments.workdir)

  return run_with_error_messages(run)


def run_with_error_messages(run) -> int:
  """Runs a training program; its errors become one message and an exit code.

  0 is success, 1 an error, 128 + n an orderly end on signal n.
  """
  # Orbax logs tracebacks beside the error that it raises.
  for name in ('absl', 'asyncio'):
    logging.getLogger(name).setLevel(logging.CRITICAL)
  console.show_warnings_as_lines()
  try:
    run()
  except preemption.Interrupted as error:
    print(error, file=sys.stderr)
    return 128 + error.signum
  except KeyboardInterrupt:
    print('stopped at once; the last checkpoint stays.', file=sys.stderr)
    return 130
  except window_lib.DivergedError as error:
    print(
      f'error: training diverged: {error} Nothing of it was saved; the last '
      'good checkpoint stays. A lower learning rate, clipping '
      '(optim.clip_norm) or a longer warm-up may help.',
      file=sys.stderr,
    )
    return 1
  except USER_ERRORS as error:
    full = getattr(error, 'errno', None) == errno.ENOSPC
    hint = ' Free some; the same command then goes on.' if full else ''
    print(f'error: {error}{"." + hint if hint else ""}', file=sys.stderr)
    return 1
  return 0


if __name__ == '__main__':
  sys.exit(main())
