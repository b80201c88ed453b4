"""`vqjax samples`: the image grids of a training, while it runs."""

from collections.abc import Callable
from typing import Annotated

from vq_jax.utils import fields
from vq_jax.workflows import sample_page

_Seconds = Annotated[float, fields.Range(least=0.1, most=3600)]


def add(commands, command: Callable) -> None:
  """Adds the command to the parser.

  Args:
    commands: the parser's subcommands.
    command: (commands, name, help, run, example) -> the parser of a new one.
  """
  parser = command(
    commands,
    'samples',
    'List the image grids that a training has written, and put them on one '
    f'page, {sample_page.PAGE} in the run folder. The page is a single file '
    'that can be copied from a remote machine.',
    run,
    example='vqjax samples runs/maskgit --watch',
  )
  parser.add_argument('folder', metavar='RUN', help='The run folder.')
  parser.add_argument(
    '--watch',
    action='store_true',
    help='Wait for new grids, name each of them, and write the page again, '
    'until Ctrl-C. A browser that shows the page follows.',
  )
  parser.add_argument(
    '--seconds',
    type=float,
    default=5.0,
    help='The time between two looks at the folder.',
  )
  parser.add_argument(
    '--num',
    type=int,
    default=12,
    help='The largest number of grids of each kind on the page.',
  )


def run(arguments) -> None:
  """Runs the command.

  Raises:
    ValueError: if there are no grids, or a number is wrong.
  """
  fields.check_value('--seconds', arguments.seconds, _Seconds)
  fields.check_value('--num', arguments.num, fields.PositiveInt)
  grids = sample_page.find_grids(arguments.folder)
  if not grids and not sample_page.writes_grids(arguments.folder):
    raise ValueError(
      f'{arguments.folder} has no image grids: it is trained with '
      'config.train.num_images=0. Resume it with a larger number.'
    )
  if arguments.watch:
    if not grids:
      print(f'waiting for the first image grid of {arguments.folder}')
    for new in sample_page.watch(
      arguments.folder, seconds=arguments.seconds, shown=arguments.num
    ):
      _print(new)
      print(f'page: {arguments.folder}/{sample_page.PAGE}', flush=True)
  if not grids:
    raise ValueError(
      f'{arguments.folder} has no image grids yet. Training writes them into '
      'its run folder with each evaluation (config.train.eval_every), for '
      'which --watch waits; packaged and exported models have none.'
    )
  page = sample_page.write_page(arguments.folder, grids, shown=arguments.num)
  _print(grids[::-1])
  print(f'page: {page}')


def _print(grids: list[sample_page.Grid]) -> None:
  for grid in grids:
    print(f'step {grid.step:8}  {grid.path}')
