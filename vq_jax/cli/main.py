"""`vqjax`: use a trained run from the command line."""

import argparse
import sys

import numpy as np

from vq_jax.cli import convert
from vq_jax.cli import latents
from vq_jax.cli import probe
from vq_jax.cli import tokenize


def main(argv: list[str] | None = None) -> int:
  """Runs one command; returns the exit code."""
  arguments = parser().parse_args(argv)
  # Imported late: `vqjax --help` answers at once.
  from vq_jax import build
  from vq_jax import checkpoints

  try:
    arguments.run(arguments)
  except (build.SpecError, checkpoints.RunError, OSError, ValueError) as error:
    print(f'error: {error}', file=sys.stderr)
    return 1
  except KeyboardInterrupt:
    print('stopped.', file=sys.stderr)
    return 130
  return 0


def parser() -> argparse.ArgumentParser:
  """Describes the commands."""
  top = argparse.ArgumentParser(
    prog='vqjax',
    description='Sample from a trained run, reconstruct images with it, or '
    'look at it. A run is the folder that was given to training as --workdir.',
  )
  commands = top.add_subparsers(
    title='commands', required=True, metavar='COMMAND'
  )
  _add_generate(commands)
  _add_reconstruct(commands)
  latents.add(commands, _command)
  convert.add(commands, _command)
  tokenize.add(commands, _command)
  probe.add(commands, _command)
  info = _command(commands, 'info', 'Tell what a run holds.', _info)
  info.add_argument('folder', metavar='RUN', help='a run folder')
  return top


def _command(commands, name: str, text: str, run) -> argparse.ArgumentParser:
  found = commands.add_parser(
    name,
    help=text,
    description=text,
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
  )
  found.set_defaults(run=run)
  return found


def _add_generate(commands) -> None:
  command = _command(
    commands,
    'generate',
    'Draw new images with a prior, or with a VAE.',
    _generate,
  )
  command.add_argument('folder', metavar='RUN', help='run folder of a prior')
  command.add_argument(
    '--labels',
    type=_labels,
    metavar='3,7',
    help='classes, by number or by name; they are repeated in turn until '
    'there are --num images (default: all classes)',
    default=argparse.SUPPRESS,
  )
  command.add_argument('--num', type=int, default=16, help='how many images')
  command.add_argument('--seed', type=int, default=0, help='of the randomness')
  _add_sampling(command)
  command.add_argument(
    '--out', default='samples.png', help='the picture to write'
  )


def _add_sampling(command) -> None:
  group = command.add_argument_group(
    'sampling', 'what is not given is as the run was configured'
  )
  options = (
    ('--steps', int, 'decoding steps'),
    ('--guidance', float, 'strength of classifier-free guidance; 0 is none'),
    (
      '--choice-temperature',
      float,
      'randomness in which positions are decided first',
    ),
    ('--temperature', float, 'of the drawn tokens'),
  )
  for name, kind, text in options:
    group.add_argument(name, type=kind, help=text, default=argparse.SUPPRESS)


def _add_reconstruct(commands) -> None:
  command = _command(
    commands,
    'reconstruct',
    'Encode and decode images: originals above, reconstructions below.',
    _reconstruct,
  )
  command.add_argument('folder', metavar='RUN', help='a run folder')
  command.add_argument(
    'images', metavar='IMAGE', nargs='+', help='JPEG, PNG or WebP files'
  )
  command.add_argument(
    '--out', default='reconstructions.png', help='the picture to write'
  )


def _labels(text: str) -> list[str]:
  labels = [part.strip() for part in text.split(',') if part.strip()]
  if not labels:
    raise argparse.ArgumentTypeError('give at least one class')
  return labels


def class_numbers(labels: list[str], names: list[str]) -> list[int]:
  """Turns classes given by number or by name into numbers.

  Raises:
    ValueError: if there is no such class; lists those there are.
  """
  numbers = []
  for label in labels:
    if label in names:
      numbers.append(names.index(label))
    elif label.isdecimal() and int(label) < len(names):
      numbers.append(int(label))
    else:
      known = ', '.join(f'{i} {name}' for i, name in enumerate(names[:50]))
      raise ValueError(f'no class {label!r}. Classes: {known}.')
  return numbers


def _generate(arguments) -> None:
  import vq_jax
  from vq_jax.utils import images

  model = vq_jax.load(arguments.folder)
  options = {
    name: getattr(arguments, name)
    for name in ('steps', 'guidance', 'choice_temperature', 'temperature')
    if name in arguments
  }
  if 'labels' in arguments:
    numbers = class_numbers(
      arguments.labels, model.config['data']['class_names']
    )
    options['labels'] = np.resize(numbers, max(arguments.num, 0))
  made = model.generate(arguments.seed, num=arguments.num, **options)
  images.save_png(arguments.out, images.grid(made))
  print(f'{len(made)} images in {arguments.out}')


def _reconstruct(arguments) -> None:
  import vq_jax
  from vq_jax.data import decode
  from vq_jax.utils import images

  model = vq_jax.load(arguments.folder)
  channels = model.config['data']['image_shape'][-1]
  stride = model.autoencoder.stride
  pairs = []
  for path in arguments.images:
    image = decode.decode_image(path, channels=channels, name=path)
    height, width = (size // stride * stride for size in image.shape[:2])
    if not height or not width:
      raise ValueError(f'{path} is smaller than {stride} x {stride} pixels.')
    image = image[None, :height, :width]
    both = images.side_by_side(image, model.reconstruct(image))
    pairs.append(images.grid(both, columns=1))
  images.save_png(arguments.out, images.beside(pairs))
  print(f'{len(pairs)} images in {arguments.out}')


def _info(arguments) -> None:
  import vq_jax
  from vq_jax import checkpoints
  from vq_jax.utils import trees

  model = vq_jax.load(arguments.folder)
  card, data = model.config['card'], model.config['data']
  _, step = checkpoints.load_variables(arguments.folder)
  holds = (
    'an autoencoder' if model.prior is None else 'a prior, its autoencoder'
  )
  classes = ', '.join(data['class_names'][:20])
  lines = {
    'run': arguments.folder,
    'holds': f'{holds}; step {step}',
    'trained on': card['data']['source'],
    'images': ' x '.join(map(str, data['image_shape'])),
    'classes': f'{len(data["class_names"])}: {classes}',
    'latent': _latent(model.autoencoder),
  }
  for name, variables in model.variables.items():
    lines[name] = f'{trees.count(variables["params"]):,} parameters'
  for name, value in lines.items():
    print(f'{name:12} {value}')


def _latent(autoencoder) -> str:
  """Tells what an image becomes."""
  parts = []
  for grid in autoencoder.code_grids:
    each = ''.join(f'{g} x ' for g in grid.index_shape)
    parts.append(
      f'{each}one of {grid.codebook_size} codes for each {grid.stride} x '
      f'{grid.stride} pixels'
    )
  if parts:
    return '; '.join(parts)
  where = (
    'an image'
    if autoencoder.grid
    else f'each {autoencoder.stride} x {autoencoder.stride} pixels'
  )
  return f'{autoencoder.latent_dim} numbers for {where}'


if __name__ == '__main__':
  sys.exit(main())
