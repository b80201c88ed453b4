"""`vqjax tokenize`: the tokens of a data set, on disk."""

import argparse
from collections.abc import Callable

import vq_jax
from vq_jax.utils import devices
from vq_jax.workflows import tokenize


def add(commands, command: Callable) -> None:
  """Adds the command to the parser.

  Args:
    commands: the parser's subcommands.
    command: (commands, name, help, run, example) -> the parser of a new one.
  """
  parser = command(
    commands,
    'tokenize',
    'Encode a data set and write its tokens, on which a prior can be trained '
    '(config.data.source=tokens:DIR). The same command resumes a stopped one.',
    run,
    example='vqjax tokenize runs/tokenizer --data folder:images --out tokens',
  )
  parser.add_argument(
    'folder', metavar='RUN', help='The run folder of a tokenizer.'
  )
  parser.add_argument(
    '--data',
    help='The data set: tfds:<name>, folder:<path> or npz:<file>.',
    required=True,
  )
  parser.add_argument(
    '--out', metavar='DIR', help='The folder to write.', required=True
  )
  parser.add_argument(
    '--split',
    action='append',
    metavar='NAME[=PART]',
    help='The name of a split to write, and the split of the data set for it, '
    'such as train=train[:95%%]. The flag may be repeated. By default the '
    'split train is written.',
    default=argparse.SUPPRESS,
  )
  parser.add_argument(
    '--data-dir', help='The folder of the data sets of TFDS.', default=None
  )
  parser.add_argument(
    '--passes',
    type=int,
    default=1,
    help='How often each image of the split train is encoded, from the second '
    "time on with the random preprocessing of the run's training.",
  )
  parser.add_argument(
    '--seed', type=int, default=0, help='The seed of the random preprocessing.'
  )
  parser.add_argument(
    '--batch-size',
    type=int,
    default=128,
    help='The number of images in a batch.',
  )
  parser.add_argument(
    '--shard-size',
    type=int,
    default=tokenize.SHARD_SIZE,
    help='The number of examples in a file.',
  )


def _split(text: str) -> tuple[str, str]:
  name, equals, part = text.partition('=')
  return name, part if equals else name


def run(arguments) -> None:
  """Runs the command."""
  splits = [_split(text) for text in getattr(arguments, 'split', ['train'])]
  if len(dict(splits)) < len(splits):
    raise ValueError('each --split must have another name.')
  devices.initialize_distributed()
  written = tokenize.tokenize(
    vq_jax.load(arguments.folder),
    arguments.out,
    source=arguments.data,
    splits=dict(splits),
    data_dir=arguments.data_dir,
    passes=arguments.passes,
    seed=arguments.seed,
    batch_size=arguments.batch_size,
    shard_size=arguments.shard_size,
  )
  counts = ', '.join(f'{n} in {split}' for split, n in written.items())
  print(f'{arguments.out}: tokens of {counts}')
