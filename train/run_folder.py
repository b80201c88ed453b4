"""A run's folder: who may train in it, and where its training goes on from."""

import contextlib
import errno
import fcntl
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax

from train import config as config_lib
from train import sharding
from train.state import TrainState
from vq_jax import checkpoints
from vq_jax import data
from vq_jax import runs

# What a run that was never claimed may have left in its folder.
_BEFORE_CLAIM = ('.lock', runs.AUTOENCODER, runs.COARSER, runs.GENERATOR)


@contextlib.contextmanager
def locked(folder: pathlib.Path):
  """Holds a run folder; the lock goes with the process, however it ends.

  Raises:
    RunError: if another process trains in it.
  """
  folder.mkdir(parents=True, exist_ok=True)
  with open(folder / '.lock', 'w') as file:
    try:
      if jax.process_index() == 0:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      raise checkpoints.RunError(
        f'another process is training in {folder}; wait for it or give another '
        '--workdir.'
      ) from error
    yield


def plain(card: Any) -> Any:
  """Returns a card as JSON gives it back: dicts, lists, numbers, strings."""
  as_dict = card.to_dict() if hasattr(card, 'to_dict') else dict(card)
  return json.loads(json.dumps(as_dict))


def is_claimed(folder: pathlib.Path) -> bool:
  """Whether a run has begun in a folder."""
  return (folder / checkpoints.CONFIG).is_file()


def refuse_another(folder: pathlib.Path, config: Mapping[str, Any]) -> None:
  """Checks that a folder is new, or holds the run of this config.

  What changes nothing about the past of a run may be another; see
  `config.FREE_TO_CHANGE`.

  Raises:
    RunError: if it holds the run of another config, or foreign files.
  """
  if is_claimed(folder):
    there = checkpoints.read_config(folder)
    lines = config_lib.differences(there.get('card'), config['card'])
    lines += config_lib.differences(there.get('data'), config['data'], 'images')
    if lines:
      hint = (
        'Give the config of that run, or begin a new run with its weights: '
        f'another --workdir and --config.init_from={folder}.'
      )
      if there.get('data') != config['data']:
        hint = f'{_other_images(folder)}{_other_order(there, config)}'
      raise checkpoints.RunError(
        f'{folder} holds the run of another config. {hint} They differ in:\n'
        + '\n'.join(lines)
      )
  elif any(p.name not in _BEFORE_CLAIM for p in folder.iterdir()):
    raise checkpoints.RunError(
      f'{folder} is not empty and holds no run; give a new folder as --workdir.'
    )


def _other_images(folder: pathlib.Path) -> str:
  """Says what to do if the images of a run have changed."""
  return (
    'Bring the same files back, or begin a new run with the weights of this '
    f'one: another --workdir and --config.init_from={folder}.'
  )


def _other_order(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
  """Says so if the classes are the same in another order."""
  before, now = (
    config.get('data', {}).get('class_names', []) for config in (there, here)
  )
  if before == now or sorted(before) != sorted(now):
    return ''
  return (
    ' Its classes are the same in another order, so their labels mean others '
    '(names with numbers are sorted by their values).'
  )


def with_changes(
  folder: pathlib.Path, card: Mapping[str, Any]
) -> dict[str, Any]:
  """Returns the config of a run that goes on with a changed card.

  It holds the new card, and in `changes` one record for each time that
  something was changed: the step, and key -> [before, now].
  """
  there = checkpoints.read_config(folder)
  changed = config_lib.changes(there['card'], card)
  if not changed:
    return there
  record = {'step': checkpoints.latest_step(folder) or 0, 'keys': changed}
  return {
    **there,
    'card': dict(card),
    'changes': [*there.get('changes', []), record],
  }


def claim(folder: pathlib.Path, config: Mapping[str, Any]) -> None:
  """Writes `config.json`, new or changed, once all else could be built."""
  if jax.process_index() == 0 and not (
    is_claimed(folder) and checkpoints.read_config(folder) == config
  ):
    checkpoints.write_config(folder, config)


@contextlib.contextmanager
def opened_checkpoints(folder: pathlib.Path, keep: int):
  """Opens the checkpoints of a run, and closes them when all are written.

  Raises:
    RunError: if one could not be written.
  """
  manager = checkpoints.manager(folder, keep=keep)
  try:
    yield manager
  finally:
    try:
      manager.close()
    except (OSError, ValueError, RuntimeError) as error:
      raise unwritable(manager, error) from error


def restore(
  manager, state: TrainState, batches, runner: sharding.JitRunner
) -> tuple[TrainState, int]:
  """Goes on from the run's latest checkpoint, if there is one.

  Returns:
    the state on the devices, and the step.

  Raises:
    RunError: if the checkpoint cannot be read, or the images are others.
  """
  latest = manager.latest_step()
  if latest is None:
    return runner.place(state), 0
  try:
    items, position = checkpoints.restore(
      manager, latest, runner.abstract(state.to_items())
    )
  except (OSError, ValueError, KeyError) as error:
    raise checkpoints.RunError(
      f'the checkpoint of step {latest} cannot be read: {error}. Delete its '
      'folder to go on from the one before.'
    ) from error
  try:
    batches.set_state(position)
  except data.DataError as error:
    folder = pathlib.Path(manager.directory).parent
    raise checkpoints.RunError(
      f'{folder} was trained on other images until now: {error} '
      f'{_other_images(folder)}'
    ) from error
  return runner.place(state.from_items(items)), latest


def save(manager, state: TrainState, batches, runner, step: int) -> None:
  """Saves (state, data iterator); the disk is written beside the training.

  Raises:
    RunError: if this or the checkpoint before could not be written.
  """
  items = runner.gather(state.replace(frozen={})).to_items()
  try:
    checkpoints.save(manager, step, items, batches.get_state())
  except (OSError, ValueError, RuntimeError) as error:
    raise unwritable(manager, error) from error


def finish_saving(manager) -> None:
  """Waits until all checkpoints are on the disk.

  Raises:
    RunError: if one could not be written.
  """
  try:
    manager.wait_until_finished()
  except (OSError, ValueError, RuntimeError) as error:
    raise unwritable(manager, error) from error


def unwritable(manager, error: Exception) -> checkpoints.RunError:
  """Says what a failed save means, and what to do."""
  kept = manager.latest_step()
  left = 'nothing is saved yet' if kept is None else f'step {kept} is kept'
  full = os.strerror(errno.ENOSPC)
  why = full if full in str(error) else str(error).strip().splitlines()[0]
  return checkpoints.RunError(
    f'a checkpoint could not be written, {left}: {why}. Mend that; the same '
    'command then goes on.'
  )
