"""`vqjax export`: a folder with a run, to publish."""

import pathlib
from collections.abc import Callable

import vq_jax
from vq_jax import convert
from vq_jax.runs import hub_folder

_FORMATS = ('orbax', 'safetensors', *convert.EXPORT_FORMATS)


def add(commands, command: Callable) -> None:
  """Adds the command to the parser.

  Args:
    commands: the parser's subcommands.
    command: (commands, name, help, run, example) -> the parser of a new one.
  """
  parser = command(
    commands,
    'export',
    'Export a run for others: averaged parameters, config, model card and '
    'checksums, without the state of its training.',
    run,
    example='vqjax export fashion --out half --dtype bfloat16 '
    '--format safetensors',
  )
  parser.add_argument('folder', metavar='RUN', help='The run folder.')
  parser.add_argument(
    '--out', metavar='DIR', required=True, help='A new folder.'
  )
  parser.add_argument(
    '--dtype',
    choices=('float32', 'bfloat16', 'float16'),
    default='float32',
    help='The dtype of the parameters in the files. They are loaded in the '
    'dtype of the model.',
  )
  parser.add_argument(
    '--format',
    choices=_FORMATS,
    default='orbax',
    help='The format of the weights. taming writes the files of '
    'CompVis/taming-transformers and maskgit those of google-research/maskgit, '
    'for models that fit them.',
  )
  parser.add_argument(
    '--licence',
    '--license',
    metavar='ID',
    help='The licence of the weights for the model card, such as apache-2.0.',
  )


def run(arguments) -> None:
  """Runs the command."""
  folder = pathlib.Path(arguments.out)
  if arguments.format in convert.EXPORT_FORMATS:
    if arguments.dtype != 'float32':
      raise ValueError(f'--format {arguments.format} has float32 only.')
    hub_folder.require_empty(folder)
    model = vq_jax.load(arguments.folder)
    written = convert.export(model, folder, arguments.format)
  else:
    hub_folder.export_run(
      arguments.folder,
      folder,
      dtype=arguments.dtype,
      format=arguments.format,
      licence=arguments.licence,
    )
    written = [path for path in folder.rglob('*') if path.is_file()]
  size = sum(path.stat().st_size for path in written)
  print(f'{folder}: {len(written)} files, {size / 1e6:.1f} MB')
