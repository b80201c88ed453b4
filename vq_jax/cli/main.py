"""`vqjax`: use a trained run from the command line."""

import argparse
import shlex
import sys

from vq_jax.cli import convert
from vq_jax.cli import edit
from vq_jax.cli import generate
from vq_jax.cli import latents
from vq_jax.cli import probe
from vq_jax.cli import tokenize


def main(argv: list[str] | None = None) -> int:
  """Runs one command; returns the exit code."""
  argv = sys.argv[1:] if argv is None else argv
  arguments = parser().parse_args(argv)
  arguments.command_line = shlex.join(['vqjax', *argv])  # kept in pictures
  # Imported late: `vqjax --help` answers at once.
  from vq_jax import checkpoints
  from vq_jax.config import registry
  from vq_jax.utils import console

  console.show_warnings_as_lines()
  try:
    arguments.run(arguments)
  except (
    registry.SpecError,
    checkpoints.RunError,
    OSError,
    ValueError,
  ) as error:
    print(f'error: {error}', file=sys.stderr)
    return 1
  except (MemoryError, RuntimeError) as error:
    if not console.is_out_of_memory(error):
      raise
    print(
      'error: there is not enough memory for this; ask for less at a time, as '
      f'with a smaller --batch-size: {error}'.splitlines()[0],
      file=sys.stderr,
    )
    return 1
  except KeyboardInterrupt:
    print('stopped.', file=sys.stderr)
    return 130
  return 0


def parser() -> argparse.ArgumentParser:
  """Describes the commands."""
  top = argparse.ArgumentParser(
    prog='vqjax',
    description='Sample from a trained run, edit or reconstruct images with '
    'it, or look at it. A run is the folder that was given to training as '
    '--workdir.',
  )
  commands = top.add_subparsers(
    title='commands', required=True, metavar='COMMAND'
  )
  generate.add(commands, _command)
  edit.add(commands, _command)
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


def _add_reconstruct(commands) -> None:
  command = _command(
    commands,
    'reconstruct',
    'Encode and decode images: originals above, reconstructions below.',
    _reconstruct,
  )
  command.add_argument('folder', metavar='RUN', help='a run folder')
  command.add_argument('images', metavar='IMAGE', nargs='+', help='image files')
  command.add_argument(
    '--out', default='reconstructions.png', help='the picture to write'
  )


def _reconstruct(arguments) -> None:
  import vq_jax
  from vq_jax.data import decode
  from vq_jax.utils import images

  model = vq_jax.load(arguments.folder)
  channels = model.config['data']['image_shape'][-1]
  images.check_image_path(arguments.out, channels=channels)
  stride = model.autoencoder.stride
  pairs = []
  for path in arguments.images:
    image = decode.decode_image(path, channels=channels, name=path)
    height, width = (size // stride * stride for size in image.shape[:2])
    if not height or not width:
      raise ValueError(f'{path} is smaller than {stride} x {stride} pixels.')
    image = image[None, :height, :width]
    both = images.stack_rows(image, model.reconstruct(image))
    pairs.append(images.grid(both, columns=1))
  images.save_image(
    arguments.out, images.hstack(pairs), comment=arguments.command_line
  )
  print(f'{len(pairs)} images in {arguments.out}')


def _info(arguments) -> None:
  import vq_jax
  from vq_jax import checkpoints
  from vq_jax.utils import trees

  model = vq_jax.load(arguments.folder)
  card, data = model.config['card'], model.config['data']
  _, step = checkpoints.load_variables(arguments.folder)
  holds = _holds(model)
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


def _holds(model) -> str:
  """Tells what a run consists of."""
  if model.prior is None:
    return 'an autoencoder'
  parts = ['a prior']
  if model.critic is not None:
    parts = ['a critic', 'its prior']
  level = model.config['card'].get('level', 0)
  if level:
    parts.append(f'the priors of {level} coarser level(s)')
  return ', '.join([*parts, 'its autoencoder'])


def _latent(autoencoder) -> str:
  """Tells what an image becomes."""
  parts = []
  for grid in autoencoder.token_grids:
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
