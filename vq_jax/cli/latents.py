"""`vqjax mixture` and `vqjax interpolate`: the latents of an AE or VAE."""

import argparse
from collections.abc import Callable

import vq_jax
from vq_jax.inference import validate
from vq_jax.utils import images
from vq_jax.workflows import mixture


def add(commands, command: Callable) -> None:
  """Adds the commands to the parser.

  Args:
    commands: the parser's subcommands.
    command: (commands, name, help, run, example) -> the parser of a new one.
  """
  _add_mixture(commands, command)
  _add_interpolate(commands, command)


def _add_mixture(commands, command: Callable) -> None:
  parser = command(
    commands,
    'mixture',
    'Generate images with an AE or VAE, from a Gaussian mixture that is fitted '
    'to the latents of a data set.',
    run_mixture,
    example='vqjax mixture runs/ae --components 50 --num 16',
  )
  parser.add_argument(
    'folder', metavar='RUN', help='The run folder of an AE or VAE.'
  )
  parser.add_argument(
    '--data',
    help='The data set: tfds:<name>, folder:<path> or npz:<file>. By default '
    'it is that of the training.',
    default=argparse.SUPPRESS,
  )
  parser.add_argument(
    '--split', default='train', help='The split of the data set.'
  )
  parser.add_argument(
    '--components',
    type=int,
    default=50,
    help='The number of Gaussians in the mixture.',
  )
  parser.add_argument(
    '--num', type=int, default=16, help='The number of images to generate.'
  )
  parser.add_argument(
    '--seed', type=int, default=0, help='The seed of the random numbers.'
  )
  parser.add_argument(
    '--limit',
    type=int,
    default=10_000,
    help='The largest number of images that the mixture is fitted to.',
  )
  parser.add_argument(
    '--out', default='samples.png', help='The image file to write.'
  )


def _add_interpolate(commands, command: Callable) -> None:
  parser = command(
    commands,
    'interpolate',
    'Decode points on the line between the latents of two images.',
    run_interpolate,
    example='vqjax interpolate runs/vae first.png last.png --steps 8',
  )
  parser.add_argument(
    'folder', metavar='RUN', help='The run folder of an AE or VAE.'
  )
  parser.add_argument(
    'first', metavar='IMAGE', help='The image where the line begins.'
  )
  parser.add_argument(
    'last', metavar='IMAGE', help='The image where the line ends.'
  )
  parser.add_argument(
    '--steps', type=int, default=8, help='The number of points on the line.'
  )
  parser.add_argument(
    '--out', default='interpolation.png', help='The image file to write.'
  )


def run_mixture(arguments) -> None:
  """Runs `vqjax mixture`."""
  validate.check_num(arguments.num, '--num')
  model = vq_jax.load(arguments.folder)
  images.check_image_path(arguments.out, channels=model.info.image_shape[-1])
  z = mixture.encode_source(
    model,
    getattr(arguments, 'data', None),
    arguments.split,
    limit=arguments.limit,
  )
  gaussians = mixture.fit_mixture(z, arguments.components, seed=arguments.seed)
  generated = model.decode(gaussians.sample(arguments.seed, arguments.num))
  images.save_image(
    arguments.out, images.grid(generated), comment=arguments.command_line
  )
  print(f'{images.count(len(generated))} in {arguments.out}')


def run_interpolate(arguments) -> None:
  """Runs `vqjax interpolate`."""
  model = vq_jax.load(arguments.folder)
  images.check_image_path(arguments.out, channels=model.info.image_shape[-1])
  ends = map(model.preprocess, (arguments.first, arguments.last))
  generated = model.interpolate(*ends, steps=arguments.steps)
  images.save_image(
    arguments.out,
    images.grid(generated, columns=len(generated)),
    comment=arguments.command_line,
  )
  print(f'{images.count(len(generated))} in {arguments.out}')
