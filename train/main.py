"""Trains a config: `python -m train.main --config FILE --workdir DIR`.

After an interruption, the same command resumes the training where it was saved.
"""

import argparse
import sys

from train import huge_pages

if __name__ == '__main__':
  huge_pages.restart_with_huge_pages()  # before JAX is imported

from train import config as config_lib
from train import errors
from train import loop
from vq_jax.config import catalog
from vq_jax.utils import devices

OVERRIDES = (
  'Every field of the config can be set, whether the file has it or not: '
  '--config.optim.learning_rate=1e-4 --config.model.quantizer.decay=0.9'
)


class _Parser(argparse.ArgumentParser):
  """Lists the configs below its help."""

  def format_help(self) -> str:
    """Returns the help; the config files are read only now."""
    folder = catalog.find_folder()
    lines = catalog.titles(folder)
    return f'{super().format_help()}\nconfigs in {folder}/:\n{lines}\n'


def parse_arguments(
  argv: list[str],
) -> tuple[argparse.Namespace, list[tuple[str, str]]]:
  """Parses the command line; exits with a message if that fails.

  Returns:
    the arguments, and the overrides of the config: [(key, text)].
  """
  parser = _Parser(
    prog='python -m train.main',
    description='Train a model, or resume its training.',
    epilog=OVERRIDES,
    allow_abbrev=False,
  )
  parser.add_argument(
    '--config',
    required=True,
    metavar='FILE[:VARIANT]',
    help='a config file, such as configs/quickstart_tokenizer.py; the variant '
    ':smoke trains a few steps, as a test',
  )
  parser.add_argument(
    '--workdir',
    required=True,
    metavar='DIR',
    help='the run folder: checkpoints, metrics, samples, report.html',
  )
  arguments, rest = parser.parse_known_args(argv)
  return arguments, parse_overrides(parser, rest)


def parse_overrides(
  parser: argparse.ArgumentParser, rest: list[str]
) -> list[tuple[str, str]]:
  """Returns what sets fields of the config: [(key, text)].

  Args:
    parser: it exits with a message if an argument sets no field.
    rest: the arguments that it does not know.
  """
  overrides = []
  for text in rest:
    key, equals, value = text.partition('=')
    if not key.startswith('--config.') or not equals:
      parser.error(
        f'unknown argument {text!r}; overrides are written '
        '--config.section.key=value'
      )
    overrides.append((key.removeprefix('--config.'), value))
  return overrides


def main(argv: list[str] | None = None) -> int:
  """Runs the command; returns the exit code."""
  arguments, overrides = parse_arguments(sys.argv[1:] if argv is None else argv)

  def run():
    devices.initialize_distributed()
    config = config_lib.load_config(arguments.config, overrides)
    loop.train(config, arguments.workdir)

  return errors.run_with_error_messages(run)


if __name__ == '__main__':
  sys.exit(main())
