"""`vqjax info`: facts about a run."""

from collections.abc import Callable

import flax.linen as nn

import vq_jax
from vq_jax.runs import checkpoints
from vq_jax.runs import locations
from vq_jax.runs import weight_file
from vq_jax.utils import trees


def add(commands, command: Callable) -> None:
  """Adds the command to the parser.

  Args:
    commands: the parser's subcommands.
    command: (commands, name, help, run, example) -> the parser of a new one.
  """
  parser = command(
    commands,
    'info',
    'Print facts about a run.',
    run,
    example='vqjax info fashion',
  )
  parser.add_argument('folder', metavar='RUN', help='The run folder.')


def run(arguments) -> None:
  """Runs the command."""
  model = vq_jax.load(arguments.folder)
  info = model.info
  step = _find_step(arguments.folder)
  names = ', '.join(info.class_names[:20])
  lines = {
    'run': arguments.folder,
    'parts': f'{_parts(model)}; step {step}',
    'trained on': info.data.source,
    'images': ' x '.join(map(str, info.image_shape)),
    'classes': f'{len(info.class_names)}: {names}',
    'latent': _latent(model.autoencoder),
  }
  for name, variables in model.variables.items():
    lines[name] = f'{trees.count(variables["params"]):,} parameters'
  for name, value in lines.items():
    print(f'{name:12} {value}')


def _find_step(source: str) -> int | None:
  """Returns the number of training steps of a run."""
  folder = locations.resolve(source)
  if weight_file.exists(folder):
    return weight_file.read(folder)[1]
  return checkpoints.latest_step(folder)


def _parts(model: vq_jax.Model) -> str:
  """Lists the networks of a run."""
  if model.prior is None:
    return 'an autoencoder'
  parts = ['a prior']
  if model.critic is not None:
    parts = ['a critic', 'its prior']
  if model.level:
    parts.append(f'the priors of {model.level} parent level(s)')
  return ', '.join([*parts, 'its autoencoder'])


def _latent(autoencoder: nn.Module) -> str:
  """Describes the latent of an image."""
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
