"""The layout of a run folder, and its config.

run/config.json           the config, facts about the data, and its labels
run/checkpoints/<step>/   variables, ema, training, data; see `checkpoints`
run/metrics.jsonl         the metrics of the training, one line for each record
run/damaged_checkpoints/  those that were found damaged, and are not used
run/autoencoder/          the autoencoder of a prior, itself a run folder
run/parent/               the prior of the parent level, in a hierarchy
run/generator/            the MaskGIT of a token critic
run/*/measurements.json   what was measured of each of these; see `measurements`
"""

import difflib
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from vq_jax import pretrained
from vq_jax.utils import paths

CONFIG = 'config.json'
METRICS = 'metrics.jsonl'
CHECKPOINTS = 'checkpoints'
DAMAGED = 'damaged_checkpoints'
AUTOENCODER, PARENT, GENERATOR = 'autoencoder', 'parent', 'generator'

# The copies within a run -> the fields of its config that name their origin.
COPIES = {
  AUTOENCODER: 'autoencoder',
  PARENT: 'parent_prior',
  GENERATOR: 'generator',
}

# The keys that the config of every run has.
_KEYS = {
  'config': ('task', 'model', 'data'),
  'dataset': ('image_shape', 'class_names'),
}


class RunError(ValueError):
  """A run folder is missing, incomplete or not what was expected."""


def write_config(
  folder: str | os.PathLike, run_config: Mapping[str, Any]
) -> None:
  """Writes `config.json`."""
  text = json.dumps(run_config, indent=2)
  paths.write_text(pathlib.Path(folder) / CONFIG, text + '\n')


def read_config(folder: str | os.PathLike) -> dict[str, Any]:
  """Reads `config.json`.

  Raises:
    RunError: if the folder is not a run folder.
  """
  path = paths.make(folder) / CONFIG
  if not path.parent.is_dir():
    packaged = pretrained.list_packaged()
    close = difflib.get_close_matches(str(folder), packaged, n=1)
    raise RunError(
      f'no such run folder: {folder}. '
      + (f'Did you mean {close[0]!r}? ' if close else '')
      + 'Give the folder of a run, the name of a packaged model '
      f'({", ".join(packaged) or "none is installed"}), gs://... or '
      'hf://org/name.'
    )
  if not path.is_file():
    raise RunError(
      f'{folder} is not a run folder: it has no {CONFIG}. A run folder is what '
      'was given to training as --workdir.'
    )
  try:
    return json.loads(path.read_text())
  except ValueError as error:  # not JSON, or not even text
    raise RunError(f'{path} is not valid JSON: {error}') from error


def read_complete_config(folder: str | os.PathLike) -> dict[str, Any]:
  """Reads `config.json`, which must have all that loading needs.

  Raises:
    RunError: if the folder is not a run folder, or its config lacks keys.
  """
  run_config = read_config(folder)
  for section, keys in _KEYS.items():
    found = run_config.get(section) if isinstance(run_config, dict) else None
    found = found if isinstance(found, dict) else {}
    missing = [key for key in keys if key not in found]
    if missing:
      raise RunError(
        f'{paths.make(folder) / CONFIG} is not the config of a run: its '
        f'section {section} lacks {", ".join(missing)}. Copy it again from '
        'where the run was trained.'
      )
  return run_config


def remove_folders(source: str) -> str:
  """Returns the name of a data set without the folders that it is in.

  Example:
    >>> remove_folders('folder:/home/me/images')
    'folder:images'
  """
  kind, separator, path = source.partition(':')
  if kind == 'tfds':
    return source
  path = path if separator else kind
  name = path.rstrip('/').rpartition('/')[2]
  return f'{kind}:{name}' if separator else name
