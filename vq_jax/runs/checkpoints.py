"""Orbax checkpoints of a run.

A checkpoint appears under its name only when it is complete, so a process that
is killed while saving leaves none. Each holds the SHA-256 of its files, and one
whose files are others now is not used; see `checksums`.
"""

import os
import pathlib
import warnings
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from vq_jax.runs import checksums
from vq_jax.runs import weight_file
from vq_jax.runs.layout import CHECKPOINTS
from vq_jax.runs.layout import DAMAGED
from vq_jax.runs.layout import RunError
from vq_jax.utils import paths


class DamagedCheckpointWarning(UserWarning):
  """A checkpoint is damaged, and an earlier one is used."""


def manager(folder: str | os.PathLike, *, keep: int | None = None):
  """Opens the checkpoints of a run.

  Saving copies the arrays to the host and writes them in the background. With
  several processes, the first one writes the checksums, when all have written
  their parts and before the checkpoint appears under its name.

  Args:
    folder: the run folder.
    keep: the number of latest checkpoints to keep; None keeps all.

  Returns:
    An `orbax.checkpoint.CheckpointManager`; close it.
  """
  import orbax.checkpoint as ocp  # takes a second to import

  path = pathlib.Path(folder).resolve() / CHECKPOINTS
  path.mkdir(parents=True, exist_ok=True)

  def write_checksums():
    # Checkpoints are saved one after another, so there is one.
    for unfinished in path.glob('*.orbax-checkpoint-tmp*'):
      checksums.write(unfinished)

  options = ocp.CheckpointManagerOptions(
    max_to_keep=keep,
    cleanup_tmp_directories=True,  # of killed processes
    async_options=ocp.AsyncOptions(post_finalization_callback=write_checksums),
  )
  return ocp.CheckpointManager(path, options=options)


def save(checkpoints, step: int, trees: Mapping[str, Any], data: Any) -> None:
  """Saves a checkpoint.

  Args:
    checkpoints: from `manager`.
    step: the step, which names the checkpoint.
    trees: item name -> tree of arrays; items that are None are left out. By
      convention `variables` are the variables of the modules, `ema` the
      averaged parameters, and `training` the rest of the training state.
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
  """Restores a checkpoint that `save` has written.

  Args:
    checkpoints: from `manager`.
    step: the step of the checkpoint.
    trees: item name -> tree of arrays or shapes (with shardings) to restore;
      items that are None are left out.

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
  return max(_list_steps(folder), default=None)


def _list_steps(folder: str | os.PathLike) -> list[int]:
  import orbax.checkpoint as ocp

  path = _make_absolute(folder) / CHECKPOINTS
  return ocp.utils.checkpoint_steps(path) if path.is_dir() else []


def _make_absolute(folder: str | os.PathLike) -> pathlib.Path:
  """Returns the path as Orbax needs it."""
  path = paths.make(folder)
  return path.resolve() if isinstance(path, pathlib.Path) else path


def find_undamaged(
  folder: str | os.PathLike, items: Collection[str] | None = None
) -> tuple[int | None, dict[int, str]]:
  """Finds the latest checkpoint of a run whose files are as they were saved.

  Args:
    folder: the run folder.
    items: names of the items that are needed, see `save`; None for all.

  Returns:
    its step, or None if the run has no checkpoint yet; and step -> what is
    wrong, of the later checkpoints.

  Raises:
    RunError: if there are checkpoints, and all are damaged.
  """
  path = paths.make(folder) / CHECKPOINTS
  damaged: dict[int, str] = {}
  for step in sorted(_list_steps(folder), reverse=True):
    damage = checksums.find_damage(path / str(step), items)
    if damage is None:
      return step, damaged
    damaged[step] = damage
  if damaged:
    found = '; '.join(f'step {step}: {what}' for step, what in damaged.items())
    raise RunError(
      f'all checkpoints in {path} are damaged ({found}). Nothing was changed. '
      'Copy them again from where they were saved, or train again in a new '
      'folder.'
    )
  return None, {}


def warn_of_damage(
  folder: str | os.PathLike, damaged: Mapping[int, str], used: int
) -> None:
  """Warns of checkpoints that are skipped; see `find_undamaged`."""
  for step, damage in damaged.items():
    path = paths.make(folder) / CHECKPOINTS / str(step)
    warnings.warn(
      f'the checkpoint {path} is damaged and skipped: {damage}. That of step '
      f'{used} is used.',
      DamagedCheckpointWarning,
      stacklevel=3,
    )


def set_aside(folder: str | os.PathLike, steps: Iterable[int]) -> None:
  """Moves damaged checkpoints to a folder beside the checkpoints."""
  folder = pathlib.Path(folder)
  (folder / DAMAGED).mkdir(exist_ok=True)
  for step in steps:
    target = folder / DAMAGED / str(step)
    again = 0
    while target.exists():
      again += 1
      target = target.with_name(f'{step}_{again}')
    (folder / CHECKPOINTS / str(step)).rename(target)


def load_variables(folder: str | os.PathLike) -> tuple[dict[str, Any], int]:
  """Reads the variables of the latest checkpoint of a run, or of its file.

  Neither the optimizer nor the devices of the training are needed. If it is
  damaged, the one before is read, with a warning.

  Args:
    folder: the run folder.

  Returns:
    `{'params': ..., 'codebook': ...}` with averaged parameters where
    training kept them, and the step.

  Raises:
    RunError: if there is no complete checkpoint, or all are damaged.
  """
  import orbax.checkpoint as ocp
  from etils import epath  # Orbax's own paths

  latest, damaged = find_undamaged(folder, ('variables', 'ema'))
  if latest is None and weight_file.exists(folder):
    return weight_file.read(folder)
  if latest is None:
    raise RunError(
      f'{folder} has no complete checkpoint yet. Let its training save one.'
    )
  warn_of_damage(folder, damaged, latest)
  path = epath.Path(_make_absolute(folder)) / CHECKPOINTS / str(latest)
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
  # Uncommitted to a device: the functions that use them decide on devices.
  return jax.tree.map(jnp.asarray, jax.device_get(variables)), latest
