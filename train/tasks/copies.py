"""Copies of other runs within a run folder, which then needs no other."""

import pathlib
import shutil
from collections.abc import Callable

import jax
from jax.experimental import multihost_utils

import vq_jax
from train import run_folder
from train.tasks.base import Setup
from vq_jax.model import Model
from vq_jax.runs import locations
from vq_jax.runs import measurements


def copy_run(
  setup: Setup,
  name: str,
  source: str,
  export: Callable[[Model, pathlib.Path], None],
) -> pathlib.Path:
  """Copies a run into the folder of another run, unless that has begun.

  Args:
    setup: that of the other run.
    name: name of the copy within it.
    source: the run folder that is copied.
    export: writes the part of it that is needed.

  Returns:
    the folder of the copy.

  Raises:
    RunError: if `source` is not a run folder.
    ValueError: if it holds a network of another kind.
  """
  copy = setup.folder / name
  if setup.abstract or run_folder.is_claimed(setup.folder):
    return copy
  model = vq_jax.load(source)
  if jax.process_index() == 0:
    shutil.rmtree(copy, ignore_errors=True)
  multihost_utils.sync_global_devices(f'{name} removed')
  export(model, copy)
  if jax.process_index() == 0:
    measurements.copy(locations.resolve(source), copy)
  multihost_utils.sync_global_devices(f'{name} copied')
  return copy
