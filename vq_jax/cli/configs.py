"""`vqjax configs`: the table of the config files."""

from collections.abc import Callable

from vq_jax.config import catalog


def add(commands, command: Callable) -> None:
  """Adds the command to the parser.

  Args:
    commands: the parser's subcommands.
    command: (commands, name, help, run, example) -> the parser of a new one.
  """
  parser = command(
    commands,
    'configs',
    'List the configs for training, with their papers and the number of '
    'parameters that they train.',
    run,
    example='vqjax configs maskgit',
  )
  parser.add_argument(
    'text',
    metavar='TEXT',
    nargs='?',
    default='',
    help='Only configs whose name or title contains this text.',
  )
  parser.add_argument(
    '--folder',
    metavar='DIR',
    default=None,
    help='The folder of the configs; by default configs in this folder, or in '
    'the checkout that vq_jax is imported from.',
  )


def run(arguments) -> None:
  """Runs the command.

  Raises:
    ValueError: if no config contains the text.
    OSError: if there is no folder of configs.
  """
  folder = catalog.find_folder(arguments.folder)
  text = arguments.text.lower()
  found = [
    entry
    for entry in catalog.read(folder)
    if text in f'{entry.name} {entry.title}'.lower()
  ]
  if not found:
    raise ValueError(f'no config in {folder} contains {arguments.text!r}.')
  print(catalog.table(found))
