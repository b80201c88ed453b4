"""`vqjax convert`: a released checkpoint becomes a run folder."""

import dataclasses
import pathlib
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

from vq_jax import convert
from vq_jax.model import Model
from vq_jax.pretrained import download
from vq_jax.pretrained import released
from vq_jax.runs import export
from vq_jax.runs import hub_folder
from vq_jax.utils import trees

_KINDS = (
  'halton-maskgit',
  'llamagen-vq',
  'maskgit',
  'maskgit-tokenizer',
  'taming-transformer',
  'taming-vqgan',
  'vit-vqgan',
)


def add(commands, command: Callable) -> None:
  """Adds the command to the parser.

  Args:
    commands: the parser's subcommands.
    command: (commands, name, help, run, example) -> the parser of a new one.
  """
  parser = command(
    commands,
    'convert',
    'Convert a released checkpoint to a run folder.',
    run,
    example='vqjax convert taming-vqgan last.ckpt --yaml model.yaml '
    '--out runs/vqgan',
  )
  parser.add_argument(
    'kind',
    choices=(*_KINDS, *released.RELEASES),
    metavar='KIND',
    help=f'The kind of the checkpoint: {", ".join(_KINDS)}; or the name of a '
    'release, whose files are downloaded if necessary (vqjax download --list).',
  )
  parser.add_argument(
    'file',
    metavar='FILE',
    nargs='?',
    help='The checkpoint file. The kinds with two files need --tokenizer and '
    '--transformer instead.',
  )
  for part in ('tokenizer', 'transformer'):
    parser.add_argument(
      f'--{part}',
      metavar='FILE',
      help=f'The checkpoint file of the {part} of a MaskGIT.',
    )
  parser.add_argument(
    '--out', metavar='RUN', required=True, help='The run folder to write.'
  )
  parser.add_argument(
    '--yaml',
    metavar='FILE',
    help='The released config of a taming-vqgan, which is checked and has the '
    'size of the images (256 without it). A taming-transformer needs it.',
  )
  parser.add_argument(
    '--heads',
    type=int,
    help='The number of attention heads of a halton-maskgit of a size that was '
    'not released.',
  )


def run(arguments) -> None:
  """Runs the command.

  Raises:
    ValueError: if the folder is in use or the file cannot be converted.
  """
  folder = pathlib.Path(arguments.out)
  hub_folder.require_empty(folder)
  options = {
    'path': arguments.file,
    'tokenizer': arguments.tokenizer,
    'transformer': arguments.transformer,
    'yaml': arguments.yaml,
    'heads': arguments.heads,
  }
  if arguments.kind in released.RELEASES:
    model = _load_release(arguments.kind, options)
  else:
    model = convert.load(arguments.kind, **options)
  export.export(model, folder)
  size = ' x '.join(map(str, model.info.image_shape))
  (grid,) = model.autoencoder.token_grids
  classes = ''
  if model.vocab is not None and model.vocab.num_classes:
    classes = f'{model.vocab.num_classes} classes, '
  print(
    f'{folder}: {arguments.kind} with {grid.codebook_size} codes, {classes}'
    f'{trees.count(model.variables):,} parameters, for images of {size}'
  )


def _load_release(name: str, options: Mapping[str, str | int | None]) -> Model:
  """Downloads a release and loads it."""
  if any(value is not None for value in options.values()):
    raise ValueError(
      f'the files of {name} are downloaded; give no file and no option of a '
      'file.'
    )
  release = released.lookup(name)
  files: dict[str, Any] = dict(download.download(name))
  model = convert.load(release.kind, **files)
  facts = {'name': name, 'url': release.source, 'licence': release.licence}
  return dataclasses.replace(
    model, run_config={**model.run_config, 'released': facts}
  )
