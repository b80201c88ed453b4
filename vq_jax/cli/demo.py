"""`vqjax demo`: a page in the browser to try a model."""

import os
import pathlib
from collections.abc import Callable
from collections.abc import Sequence

import vq_jax
from vq_jax.cli import flags
from vq_jax.demo import inputs
from vq_jax.demo import server
from vq_jax.utils import packages


def add(commands, command: Callable) -> None:
  """Adds the command to the parser.

  Args:
    commands: the parser's subcommands.
    command: (commands, name, help, run, example) -> the parser of a new one.
  """
  parser = command(
    commands,
    'demo',
    'Serve a page on which a model samples, edits and reconstructs images.',
    run,
    example='vqjax demo fashion',
  )
  parser.add_argument('folder', metavar='RUN', help='The run folder.')
  parser.add_argument(
    'other',
    metavar='RUN2',
    nargs='?',
    help='Another run, whose results are shown beside those of the first.',
  )
  parser.add_argument(
    '--host',
    default='127.0.0.1',
    help='The address to serve at. The default serves this machine alone; '
    '0.0.0.0 serves everyone who can reach it.',
  )
  parser.add_argument(
    '--port', type=int, default=7860, help='The port; 0 chooses a free one.'
  )
  group = parser.add_argument_group('limits of what browsers may send')
  flags.add_fields(group, inputs.Limits)


def run(arguments) -> None:
  """Runs the command."""
  with packages.required_for('the demo page'):
    import gradio  # noqa: F401
  limits = inputs.Limits(**flags.get_fields(arguments, inputs.Limits))
  folders = [arguments.folder]
  folders += [arguments.other] if arguments.other else []
  names = short_names(folders)
  models = {
    name: vq_jax.load(folder)
    for name, folder in zip(names, folders, strict=True)
  }
  server.serve(
    models,
    host=arguments.host,
    port=arguments.port,
    limits=limits,
    ready=lambda url: print(
      f'{" and ".join(models)} at {url}; Ctrl+C stops the page', flush=True
    ),
  )


def short_names(folders: Sequence[str | os.PathLike]) -> list[str]:
  """Returns the last parts of paths, as many as tell them apart.

  Args:
    folders: paths.

  Raises:
    ValueError: if two are the same.
  """
  parts = [pathlib.Path(folder).resolve().parts for folder in folders]
  if len(set(parts)) < len(parts):
    raise ValueError(f'{folders[0]} is given twice; give two different runs.')
  for count in range(1, max(map(len, parts)) + 1):
    names = ['/'.join(part[-count:]) for part in parts]
    if len(set(names)) == len(names):
      return names
  raise AssertionError
