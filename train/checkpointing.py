"""Saves and restores the training: its state and its data iterator."""

import contextlib
import errno
import os
import pathlib

import jax
import numpy as np
from jax.experimental import multihost_utils

from train import run_folder
from train import sharding
from train.state import TrainState
from vq_jax import data
from vq_jax.runs import checkpoints
from vq_jax.runs import layout

_WRITE_ERRORS = (OSError, ValueError, RuntimeError)


class Checkpointer:
  """The checkpoints of a run.

  A checkpoint holds the state and the data iterator, and is written after a
  step and before the next batch is read. Therefore N steps, a restart and N
  more steps are 2 N steps, to the bit. The disk is written in the background.
  """

  def __init__(
    self, folder: pathlib.Path, runner: sharding.JitRunner, *, keep: int
  ):
    """Opens the checkpoints of a run.

    Args:
      folder: the run folder.
      runner: the devices.
      keep: number of the latest checkpoints that are kept.
    """
    self._folder, self._runner = folder, runner
    self._manager = checkpoints.manager(folder, keep=keep)

  def restore(
    self, state: TrainState, batches: data.TrainIterator
  ) -> tuple[TrainState, int]:
    """Restores the latest checkpoint that is not damaged, if there is one.

    The damaged ones are moved to a folder of their own, so that their steps can
    be saved again.

    Args:
      state: the state before the first step.
      batches: the data iterator, whose position is set.

    Returns:
      the state on the devices, and its step.

    Raises:
      RunError: if all checkpoints are damaged, the latest other one cannot be
        read, or the images are others.
    """
    latest = self._choose()
    if latest is None:
      return self._runner.place(state), 0
    try:
      items, position = checkpoints.restore(
        self._manager, latest, self._runner.abstract(state.to_items())
      )
    except (OSError, ValueError, KeyError) as error:
      raise layout.RunError(
        f'the checkpoint of step {latest} cannot be read: {error}. Delete its '
        'folder to go on from the one before.'
      ) from error
    try:
      batches.set_state(position)
    except data.DataError as error:
      raise layout.RunError(
        f'{self._folder} was trained on other images until now: {error} '
        f'{run_folder.get_other_images_hint(self._folder)}'
      ) from error
    return self._runner.place(state.from_items(items)), latest

  def _choose(self) -> int | None:
    """Returns the step to restore, on which all processes agree, or None."""
    none, failed = -1, -2
    latest, damaged, error = none, {}, None
    if jax.process_index() == 0:
      try:
        found, damaged = checkpoints.find_undamaged(self._folder)
        latest = none if found is None else found
        if damaged:
          checkpoints.warn_of_damage(self._folder, damaged, latest)
          checkpoints.set_aside(self._folder, damaged)
      except (OSError, layout.RunError) as caught:
        latest, error = failed, caught
    agreed = np.array([latest, len(damaged)], np.int32)
    latest, moved = map(int, multihost_utils.broadcast_one_to_all(agreed))
    if latest == failed:
      raise error or layout.RunError(
        f'process 0 found no checkpoint in {self._folder} that can be used.'
      )
    if moved:
      self._manager.reload()
    return None if latest == none else latest

  def save(
    self, step: int, state: TrainState, batches: data.TrainIterator
  ) -> None:
    """Saves the state and the data iterator after `step` steps.

    Raises:
      RunError: if this checkpoint or the one before could not be written.
    """
    items = self._runner.gather(state.replace(frozen={})).to_items()
    try:
      checkpoints.save(self._manager, step, items, batches.get_state())
    except _WRITE_ERRORS as error:
      raise self._write_error(error) from error

  def wait(self) -> None:
    """Waits until all checkpoints are on the disk.

    Raises:
      RunError: if one could not be written.
    """
    try:
      self._manager.wait_until_finished()
    except _WRITE_ERRORS as error:
      raise self._write_error(error) from error

  def __enter__(self) -> 'Checkpointer':
    """Returns itself."""
    return self

  def __exit__(self, *exception) -> None:
    """Waits until all checkpoints are on the disk, and closes them."""
    try:
      self._manager.close()
    except _WRITE_ERRORS as error:
      raise self._write_error(error) from error

  def _write_error(self, error: Exception) -> layout.RunError:
    """Returns an error that says what a failed save means, and what to do."""
    with contextlib.suppress(*_WRITE_ERRORS):
      self._manager.wait_until_finished()  # the one before may yet be written
    kept = checkpoints.latest_step(self._folder)
    left = 'nothing is saved yet' if kept is None else f'step {kept} is kept'
    full = os.strerror(errno.ENOSPC)
    why = full if full in str(error) else str(error).strip().splitlines()[0]
    return layout.RunError(
      f'a checkpoint could not be written, {left}: {why}. Mend that; the same '
      'command then goes on.'
    )
