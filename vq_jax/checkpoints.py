"""Run folders: the config, and Orbax checkpoints of all that a run needs.

    run/config.json           the card, facts about its data and its labels
    run/checkpoints/<step>/   variables, ema, training, data (see `save`)
    run/autoencoder/          a prior's own copy of its autoencoder's run

A checkpoint appears under its name only when it is complete, so a killed
process leaves no half of one.
"""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from vq_jax.utils import paths

CONFIG = 'config.json'
CHECKPOINTS = 'checkpoints'


class RunError(ValueError):
  """A run folder is missing, incomplete or not what was expected."""


def write_config(folder: str | os.PathLike, config: Mapping[str, Any]) -> None:
  """Writes `config.json`."""
  text = json.dumps(config, indent=2)
  paths.write_text(pathlib.Path(folder) / CONFIG, text + '\n')


def read_config(folder: str | os.PathLike) -> dict[str, Any]:
  """Reads `config.json`.

  Raises:
    RunError: if the folder is no run.
  """
  path = pathlib.Path(folder) / CONFIG
  if not path.parent.is_dir():
    raise RunError(f'no such run folder: {folder}')
  if not path.is_file():
    raise RunError(
      f'{folder} is not a run folder: it has no {CONFIG}. A run folder is what '
      'was given to training as --workdir.'
    )
  try:
    config = json.loads(path.read_text())
  except ValueError as error:  # no text, or another one
    raise RunError(f'{path} is not valid JSON: {error}') from error
  return config


def manager(
  folder: str | os.PathLike, *, keep: int | None = None, wait: bool = False
):
  """Opens the checkpoints of a run.

  Args:
    folder: the run folder.
    keep: how many of the latest checkpoints stay; None keeps all.
    wait: whether saving waits for the disk instead of going on beside the
      training.

  Returns:
    An `orbax.checkpoint.CheckpointManager`; close it.
  """
  import orbax.checkpoint as ocp  # takes a second to import

  path = pathlib.Path(folder).resolve() / CHECKPOINTS
  path.mkdir(parents=True, exist_ok=True)
  options = ocp.CheckpointManagerOptions(
    max_to_keep=keep,
    enable_async_checkpointing=not wait,
    cleanup_tmp_directories=True,  # what a killed process left
  )
  return ocp.CheckpointManager(path, options=options)


def save(checkpoints, step: int, trees: Mapping[str, Any], data: Any) -> None:
  """Saves a checkpoint.

  Args:
    checkpoints: from `manager`.
    step: its name.
    trees: item name -> tree of arrays; a None is left out. By convention
      `variables` holds what the modules apply with, `ema` the averaged
      parameters, and `training` what only training needs.
    data: the state of the data iterator, as JSON.
  """
  import orbax.checkpoint as ocp

  items = {
    name: ocp.args.StandardSave(tree)
    for name, tree in trees.items()
    if tree is not None
  }
  args = ocp.args.Composite(data=ocp.args.JsonSave(data), **items)
  checkpoints.save(step, args=args)


def restore(
  checkpoints, step: int, trees: Mapping[str, Any]
) -> tuple[dict[str, Any], Any]:
  """Restores a checkpoint; undoes `save`.

  Args:
    checkpoints: from `manager`.
    step: which.
    trees: item name -> tree of arrays or shapes (with shardings) that says
      what is wanted; None items are left out.

  Returns:
    the trees, and the state of the data iterator.
  """
  import orbax.checkpoint as ocp

  abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, dict(trees))
  items = {
    name: ocp.args.StandardRestore(tree)
    for name, tree in abstract.items()
    if tree is not None
  }
  args = ocp.args.Composite(data=ocp.args.JsonRestore(), **items)
  restored = checkpoints.restore(step, args=args)
  found = {name: restored[name] if name in items else None for name in trees}
  return found, restored['data']


def latest_step(folder: str | os.PathLike) -> int | None:
  """Returns the step of a run's latest complete checkpoint, if it has one."""
  import orbax.checkpoint as ocp

  path = pathlib.Path(folder).resolve() / CHECKPOINTS
  steps = ocp.utils.checkpoint_steps(path) if path.is_dir() else []
  return max(steps, default=None)


def load_variables(folder: str | os.PathLike) -> tuple[dict[str, Any], int]:
  """Reads what the latest checkpoint of a run applies with.

  Needs neither the optimizer nor the devices that trained it.

  Args:
    folder: the run folder.

  Returns:
    `{'params': ..., 'codebook': ...}` with averaged parameters where they
    were kept, and the step.

  Raises:
    RunError: if there is no complete checkpoint.
  """
  import orbax.checkpoint as ocp
  from etils import epath  # Orbax's own paths

  latest = latest_step(folder)
  if latest is None:
    raise RunError(
      f'{folder} has no complete checkpoint yet. Let its training save one.'
    )
  path = epath.Path(folder).resolve() / CHECKPOINTS / str(latest)
  device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
  handler = ocp.StandardCheckpointHandler()

  def read(item):
    shapes = jax.tree.map(
      lambda m: jax.ShapeDtypeStruct(m.shape, m.dtype, sharding=device),
      handler.metadata(path / item).tree,
    )
    return handler.restore(path / item, args=ocp.args.StandardRestore(shapes))

  try:
    variables = read('variables')
    if (path / 'ema').is_dir():
      variables = {**variables, 'params': read('ema')}
  except (OSError, ValueError, KeyError, AttributeError) as error:
    raise RunError(f'the checkpoint {path} cannot be read: {error}') from error
  # Uncommitted: whoever applies them decides on which devices.
  return jax.tree.map(jnp.asarray, jax.device_get(variables)), latest


def export(
  folder: str | os.PathLike,
  config: Mapping[str, Any],
  variables: Mapping[str, Any],
  step: int = 0,
) -> None:
  """Writes a run folder that only serves `vq_jax.load`: no training state.

  `config.json` comes last, so a folder that has one is complete. With several
  processes all of them call this, and one writes.
  """
  variables = jax.device_get(dict(variables))
  with manager(folder, wait=True) as checkpoints:
    save(checkpoints, step, {'variables': variables}, data=None)
    checkpoints.wait_until_finished()
  write_config(folder, config)
