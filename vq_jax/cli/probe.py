"""`vqjax probe`: linear probes of the features of an encoder."""

import argparse
import json
from collections.abc import Callable

import vq_jax
from vq_jax.utils import paths
from vq_jax.workflows import probe


def add(commands, command: Callable) -> None:
  """Adds the command to the parser.

  Args:
    commands: the parser's subcommands.
    command: (commands, name, help, run, example) -> the parser of a new one.
  """
  parser = command(
    commands,
    'probe',
    'Classify images by linear probes of the features of an encoder.',
    run,
    example='vqjax probe fashion --data tfds:fashion_mnist_mini --shots 1,10',
  )
  parser.add_argument('folder', metavar='RUN', help='The run folder.')
  parser.add_argument(
    '--data',
    required=True,
    help='The data set: tfds:<name>, folder:<path> or npz:<file>.',
  )
  parser.add_argument(
    '--train-split', default='train', help='The split for training.'
  )
  parser.add_argument(
    '--test-split', default='test', help='The split for testing.'
  )
  parser.add_argument(
    '--data-dir',
    help='The folder of the data sets of TFDS.',
    default=argparse.SUPPRESS,
  )
  parser.add_argument(
    '--shots',
    type=_numbers,
    default='1,5,10,100',
    help='The numbers of examples of each class.',
  )
  parser.add_argument(
    '--draws',
    type=int,
    default=10,
    help='The number of samples for each number of shots.',
  )
  parser.add_argument(
    '--seed', type=int, default=0, help='The seed of these samples.'
  )
  parser.add_argument(
    '--pool',
    type=int,
    default=4,
    help='Features are averaged over at most this many parts along a side.',
  )
  parser.add_argument(
    '--limit',
    type=int,
    help='The largest number of images of each split.',
  )
  parser.add_argument(
    '--out', help='The JSON file to write.', default=argparse.SUPPRESS
  )


def _numbers(text: str) -> tuple[int, ...]:
  try:
    return tuple(int(part) for part in text.split(','))
  except ValueError as error:
    raise argparse.ArgumentTypeError('give numbers such as 1,5,10') from error


def run(arguments) -> None:
  """Runs the command."""
  if 'out' in arguments:
    paths.check_file(arguments.out)
  found = probe.probe(
    vq_jax.load(arguments.folder),
    arguments.data,
    train_split=arguments.train_split,
    test_split=arguments.test_split,
    data_dir=getattr(arguments, 'data_dir', None),
    shots=arguments.shots,
    draws=arguments.draws,
    seed=arguments.seed,
    cells=arguments.pool,
    limit=arguments.limit,
  )
  print(f'{found["features"]} features; accuracy on {arguments.test_split}')
  for k, (mean, spread) in found['shots'].items():
    print(f'{k:4} of each class   {mean:.3f} +- {spread:.3f}')
  print(f'all               {found["linear"]:.3f}')
  if 'out' in arguments:
    text = json.dumps({'run': arguments.folder, **found}, indent=2)
    paths.write_text(arguments.out, text + '\n')
