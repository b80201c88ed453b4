"""`vqjax tokenize`: the tokens of a data set, on disk."""

import argparse
from collections.abc import Callable


def add(commands, command: Callable) -> None:
  """Adds the command to the parser.

  Args:
    commands: the parser's subcommands.
    command: (commands, name, help, run) -> the parser of a new one.
  """
  parser = command(
    commands,
    'tokenize',
    'Encode a data set and write its tokens, on which a prior can be trained '
    'without running the tokenizer (config.data.source=tokens:DIR). Stopped or '
    'killed, the same command goes on where it was.',
    run,
  )
  parser.add_argument('folder', metavar='RUN', help='run of a tokenizer')
  parser.add_argument(
    '--data', help='tfds:<name>, folder:<path> or npz:<file>', required=True
  )
  parser.add_argument(
    '--out', metavar='DIR', help='the folder to write', required=True
  )
  parser.add_argument(
    '--split',
    action='append',
    metavar='NAME[=PART]',
    help='a split to write, and the part of the source that becomes it: '
    'train=train[:95%%]; may be given again (default: train)',
    default=argparse.SUPPRESS,
  )
  parser.add_argument(
    '--data-dir', help='where TFDS keeps its data sets', default=None
  )
  parser.add_argument(
    '--passes',
    type=int,
    default=1,
    help='encodings of each image of the split train, all but the first with '
    "the augmentations of the run's training",
  )
  parser.add_argument(
    '--seed', type=int, default=0, help='of the augmentations'
  )
  parser.add_argument(
    '--batch-size', type=int, default=128, help='images at a time'
  )


def _split(text: str) -> tuple[str, str]:
  name, equals, part = text.partition('=')
  return name, part if equals else name


def run(arguments) -> None:
  """Runs the command."""
  import vq_jax
  from vq_jax import tokenization

  splits = [_split(text) for text in getattr(arguments, 'split', ['train'])]
  if len(dict(splits)) < len(splits):
    raise ValueError('each --split to write needs a name of its own.')
  written = tokenization.tokenize(
    vq_jax.load(arguments.folder),
    arguments.out,
    source=arguments.data,
    splits=dict(splits),
    data_dir=arguments.data_dir,
    passes=arguments.passes,
    seed=arguments.seed,
    batch_size=arguments.batch_size,
  )
  counts = ', '.join(f'{n} in {split}' for split, n in written.items())
  print(f'{arguments.out}: tokens of {counts}')
