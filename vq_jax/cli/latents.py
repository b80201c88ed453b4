"""`vqjax mixture` and `vqjax interpolate`: the latents of an AE or VAE."""

import argparse
from collections.abc import Callable


def add(commands, command: Callable) -> None:
  """Adds the commands to the parser.

  Args:
    commands: the parser's subcommands.
    command: (commands, name, help, run) -> the parser of a new one.
  """
  mixture = command(
    commands,
    'mixture',
    'Draw new images with an AE or VAE, from a Gaussian mixture fitted to the '
    'latents of a data set.',
    draw,
  )
  mixture.add_argument('folder', metavar='RUN', help='run of an AE or a VAE')
  mixture.add_argument(
    '--data',
    help='tfds:<name>, folder:<path> or npz:<file> (default: as in training)',
    default=argparse.SUPPRESS,
  )
  mixture.add_argument('--split', default='train', help='of the data')
  mixture.add_argument('--components', type=int, default=50, help='normals')
  mixture.add_argument('--num', type=int, default=16, help='how many images')
  mixture.add_argument('--seed', type=int, default=0, help='of the randomness')
  mixture.add_argument(
    '--limit', type=int, default=10_000, help='fit to so many images at most'
  )
  mixture.add_argument(
    '--out', default='samples.png', help='the picture to write'
  )
  between = command(
    commands,
    'interpolate',
    'Decode the points of a line between the latents of two images.',
    interpolate,
  )
  between.add_argument('folder', metavar='RUN', help='run of an AE or a VAE')
  between.add_argument('first', metavar='IMAGE', help='where the line begins')
  between.add_argument('last', metavar='IMAGE', help='where it ends')
  between.add_argument('--steps', type=int, default=8, help='points on it')
  between.add_argument(
    '--out', default='interpolation.png', help='the picture to write'
  )


def draw(arguments) -> None:
  """Runs `vqjax mixture`."""
  import numpy as np

  import vq_jax
  from vq_jax import checks
  from vq_jax import latent_space
  from vq_jax.config import registry
  from vq_jax.utils import images

  checks.checked_num(arguments.num, '--num')
  model = vq_jax.load(arguments.folder)
  channels = model.config['data']['image_shape'][-1]
  images.check_image_path(arguments.out, channels=channels)
  latent_space.latent_shape(model)  # says so at once if there is none
  card = model.config['card']['data']
  batches = vq_jax.data.open_eval_batches(
    getattr(arguments, 'data', card['source']),
    arguments.split,
    data_dir=card.get('data_dir'),
    channels=channels,
    preprocess=registry.preprocess(card.get('eval_preprocess', ())),
    limit=arguments.limit,
  )
  z = np.concatenate(
    [latent_space.encode(model, b['image'][b['mask']]) for b in batches]
  )
  mixture = latent_space.fit_mixture(
    z, arguments.components, seed=arguments.seed
  )
  made = latent_space.decode(
    model, mixture.sample(arguments.seed, arguments.num)
  )
  images.save_image(
    arguments.out, images.grid(made), comment=arguments.command_line
  )
  print(f'{len(made)} images in {arguments.out}')


def interpolate(arguments) -> None:
  """Runs `vqjax interpolate`."""
  import vq_jax
  from vq_jax import latent_space
  from vq_jax.config import registry
  from vq_jax.data import decode
  from vq_jax.data import preprocessing
  from vq_jax.utils import images

  model = vq_jax.load(arguments.folder)
  card = model.config['card']['data']
  steps = registry.preprocess(card.get('eval_preprocess', ()))
  channels = model.config['data']['image_shape'][-1]
  images.check_image_path(arguments.out, channels=channels)
  ends = [
    preprocessing.apply(
      steps, decode.decode_image(path, channels=channels, name=path), None
    )
    for path in (arguments.first, arguments.last)
  ]
  made = latent_space.interpolate(model, *ends, steps=arguments.steps)
  images.save_image(
    arguments.out,
    images.grid(made, columns=len(made)),
    comment=arguments.command_line,
  )
  print(f'{len(made)} images in {arguments.out}')
