"""Exports of runs: a folder to publish, with what loading needs and no more.

DIR/README.md            a model card
DIR/config.json          as in every run folder, without local paths
DIR/checkpoints/<step>/  the averaged parameters (Orbax), or
DIR/model.safetensors    the same in one file
DIR/autoencoder/ ...     the runs that this one needs, in the same form
DIR/measurements.json    metrics and evaluations, which the card quotes
DIR/checksums.json       the SHA-256 of each file but the model card
"""

import copy
import os
import pathlib
from collections.abc import Mapping
from typing import Any
from typing import Literal

import jax
import numpy as np

from vq_jax.runs import checkpoints
from vq_jax.runs import checksums
from vq_jax.runs import export
from vq_jax.runs import layout
from vq_jax.runs import load
from vq_jax.runs import locations
from vq_jax.runs import measurements
from vq_jax.runs import model_card
from vq_jax.runs import weight_file

Dtype = Literal['float32', 'bfloat16', 'float16']
Format = Literal['orbax', 'safetensors']


def export_run(
  source: str | os.PathLike,
  folder: str | os.PathLike,
  *,
  dtype: Dtype = 'float32',
  format: Format = 'orbax',
  licence: str | None = None,
) -> None:
  """Exports a run with all that `vq_jax.load` needs, and a model card.

  The averaged parameters are written where training kept an average. Loading
  returns the same arrays to the bit if `dtype` is float32. Parameters of
  another dtype take half of the space; loading converts them to the dtype of
  the model, so its outputs are those of the rounded parameters. Codebooks that
  no gradient trains are float32 always.

  Args:
    source: the run, as `vq_jax.load` takes it.
    folder: a new or an empty folder.
    dtype: dtype of the parameters.
    format: format of the weights.
    licence: identifier of the licence of the weights for the model card, such
      as 'apache-2.0'; by default that of a converted checkpoint.

  Raises:
    RunError: if the run cannot be loaded.
    ValueError: if the folder is in use, or a parameter is beyond the range of
      float16.
  """
  folder, origin = pathlib.Path(folder), locations.resolve(source)
  require_empty(folder)
  model = load.load(source)  # checks everything first
  _write(origin, folder, np.dtype(dtype), format)
  measurements.copy(origin, folder)
  card = model_card.make(
    model, folder, title=folder.resolve().name, dtype=dtype, licence=licence
  )
  (folder / model_card.NAME).write_text(card)
  checksums.write_export(folder)


def require_empty(folder: pathlib.Path) -> None:
  """Raises ValueError unless a folder is new or empty."""
  if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
    raise ValueError(
      f'{folder} exists already; give --out a new or an empty folder.'
    )


def _write(
  origin: pathlib.Path, folder: pathlib.Path, dtype: np.dtype, format: Format
) -> None:
  """Writes a run and, before it, those that it needs."""
  for name in layout.COPIES:
    if (origin / name).is_dir():
      _write(origin / name, folder / name, dtype, format)
  variables, step = checkpoints.load_variables(origin)
  variables = dict(jax.device_get(variables))
  variables['params'] = _cast(variables['params'], dtype)
  run_config = _remove_paths(layout.read_complete_config(origin))
  if format == 'orbax':
    export.write_run(folder, run_config, variables, step)
    return
  weight_file.write(folder, variables, step)
  layout.write_config(folder, run_config)


def _cast(params: Any, dtype: np.dtype) -> Any:
  """Converts the parameters to a dtype.

  Raises:
    ValueError: if a finite number becomes infinite.
  """

  def cast(x):
    with np.errstate(over='ignore'):
      found = x.astype(dtype)
    if not np.isfinite(found[np.isfinite(x)]).all():
      raise ValueError(
        f'a parameter is beyond the range of {dtype}; export it as bfloat16.'
      )
    return found

  return jax.tree.map(cast, params)


def _remove_paths(run_config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns a config without the paths of the machine of the training."""
  exported = copy.deepcopy(dict(run_config))
  config = exported['config']
  for name, field in layout.COPIES.items():
    if config.get(field) is not None:
      config[field] = name
  if config.get('init_from') is not None:
    config['init_from'] = os.path.basename(config['init_from'].rstrip('/'))
  data = config['data']
  if data.get('data_dir') is not None:
    data['data_dir'] = None
  if data.get('source') is not None:
    data['source'] = layout.remove_folders(data['source'])
  exported.pop('changes', None)
  return exported
