"""Orbax checkpoints of a run.

A checkpoint appears under its name only when it is complete, so a process that
is killed while saving leaves none.
"""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from vq_jax.runs.layout import CHECKPOINTS
from vq_jax.runs.layout import RunError


def manager(
  folder: str | os.PathLike, *, keep: int | None = None, wait: bool = False
):
  """Opens the checkpoints of a run.

  Args:
    folder: the run folder.
    keep: the number of latest checkpoints to keep; None keeps all.
    wait: whether saving waits for the disk; otherwise it is asynchronous.

  Returns:
    An `orbax.checkpoint.CheckpointManager`; close it.
  """
  import orbax.checkpoint as ocp  # takes a second to import

  path = pathlib.Path(folder).resolve() / CHECKPOINTS
  path.mkdir(parents=True, exist_ok=True)
  options = ocp.CheckpointManagerOptions(
    max_to_keep=keep,
    enable_async_checkpointing=not wait,
    cleanup_tmp_directories=True,  # of killed processes
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
  import orbax.checkpoint as ocp

  path = pathlib.Path(folder).resolve() / CHECKPOINTS
  steps = ocp.utils.checkpoint_steps(path) if path.is_dir() else []
  return max(steps, default=None)


def load_variables(folder: str | os.PathLike) -> tuple[dict[str, Any], int]:
  """Reads the variables of the latest checkpoint of a run.

  Neither the optimizer nor the devices of the training are needed.

  Args:
    folder: the run folder.

  Returns:
    `{'params': ..., 'codebook': ...}` with averaged parameters where
    training kept them, and the step.

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
  # Uncommitted to a device: the functions that use them decide on devices.
  return jax.tree.map(jnp.asarray, jax.device_get(variables)), latest
