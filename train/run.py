"""Opening a run: its folder, its data, its task, and where it goes on from."""

import contextlib
import dataclasses
import fcntl
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import optax

import vq_jax
from train import config as config_lib
from train import optim
from train import parallel
from train import settings as settings_lib
from train import tasks
from train.state import TrainState
from vq_jax import build
from vq_jax import checkpoints
from vq_jax import data
from vq_jax import model as model_lib
from vq_jax.utils import trees

# What a run that was never claimed may have left in its folder.
_BEFORE_CLAIM = ('.lock', model_lib.AUTOENCODER)


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

  Raises:
    RunError: if it holds the run of another config, or foreign files.
  """
  if is_claimed(folder):
    there = checkpoints.read_config(folder)
    lines = config_lib.differences(there.get('card'), config['card'])
    lines += config_lib.differences(there.get('data'), config['data'], 'images')
    if lines:
      raise checkpoints.RunError(
        f'{folder} holds the run of another config. Give another --workdir, or '
        'the config of that run. They differ in:\n' + '\n'.join(lines)
      )
  elif any(p.name not in _BEFORE_CLAIM for p in folder.iterdir()):
    raise checkpoints.RunError(
      f'{folder} is not empty and holds no run; give a new folder as --workdir.'
    )


def claim(folder: pathlib.Path, config: Mapping[str, Any]) -> None:
  """Writes a new run's `config.json`, once all else of it could be built."""
  if jax.process_index() == 0 and not is_claimed(folder):
    checkpoints.write_config(folder, config)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Datasets:
  """The images of a run.

  Attributes:
    train: source of training images.
    eval_batches: of held-out images.
    settings: section `data`.
    facts: what `config.json` tells of them.
  """

  train: data.Source
  eval_batches: data.EvalBatches
  settings: settings_lib.Data
  facts: dict[str, Any]


def open_datasets(
  card: settings_lib.AutoencoderCard, runner: parallel.JitRunner
) -> Datasets:
  """Opens both splits, in memory where they fit.

  Raises:
    DataError: if they cannot be read.
    ConfigError: if batches do not divide over the devices.
  """
  settings = config_lib.section(settings_lib.Data, 'data', card.data)
  parallel.check_batch('batch_size', settings.batch_size, runner)
  parallel.check_batch('eval_batch_size', settings.eval_batch_size, runner)

  def source(split):
    found = data.open_source(
      settings.source,
      split,
      data_dir=settings.data_dir,
      channels=settings.channels,
      max_unreadable=settings.max_unreadable,
    )
    fits = settings.in_memory and data.fits_in_memory(found)
    return data.in_memory(found) if fits else found

  train, held_out = source(settings.train_split), source(settings.eval_split)
  eval_batches = data.eval_batches(
    held_out,
    batch_size=settings.eval_batch_size,
    preprocess=build.preprocess(settings.eval_preprocess),
    process_index=jax.process_index(),
    process_count=jax.process_count(),
    limit=settings.eval_limit,
  )
  shape = tasks.first_images(eval_batches, 1).shape[1:]
  facts = {
    'image_shape': [int(s) for s in shape],
    'num_classes': train.num_classes,
    'class_names': list(train.class_names),
  }
  return Datasets(
    train=train, eval_batches=eval_batches, settings=settings, facts=facts
  )


def train_batches(datasets: Datasets, seed: int, runner: parallel.JitRunner):
  """Starts the endless, shuffled batches, put on the devices ahead of time."""
  settings = datasets.settings
  return data.train_batches(
    datasets.train,
    batch_size=settings.batch_size,
    seed=seed,
    preprocess=build.preprocess(settings.train_preprocess),
    process_index=jax.process_index(),
    process_count=jax.process_count(),
    workers=settings.workers,
    prefetch=settings.prefetch,
    transfer=runner.transfer,
  )


def make_task(
  card: settings_lib.AutoencoderCard,
  folder: pathlib.Path,
  config: Mapping[str, Any],
  datasets: Datasets,
  runner: parallel.JitRunner,
  pictures: int,
) -> tasks.Task:
  """Builds the task that a card names."""
  if card.task == 'autoencoder':
    return tasks.autoencoder_task(
      card, config, runner, datasets.eval_batches, pictures
    )
  own = tasks.own_autoencoder(
    folder, card.autoencoder, copied=is_claimed(folder)
  )
  tasks.check_images(own, datasets.facts['image_shape'])
  return tasks.prior_task(
    card, config, runner, datasets.eval_batches, pictures, own
  )


def initial_state(
  card: settings_lib.AutoencoderCard,
  task: tasks.Task,
  optimizer: optax.GradientTransformation,
  *,
  average: bool,
) -> TrainState:
  """Initialises a state, from another run's weights if the card names one."""
  if card.init_keep and card.init_from is None:
    raise settings_lib.ConfigError(
      'config.init_keep says which weights of config.init_from are left out; '
      'set config.init_from.'
    )
  variables = jax.jit(task.init)(jax.random.key(card.seed))
  if card.init_from is not None:
    loaded, _ = checkpoints.load_variables(card.init_from)
    variables = trees.merge_strict(
      variables,
      loaded,
      keep=card.init_keep,
      source=f'config.init_from={card.init_from}',
    )
  return TrainState.create(
    variables, optimizer, average=average, frozen=dict(task.frozen)
  )


def restore(
  manager, state: TrainState, batches, runner: parallel.JitRunner
) -> tuple[TrainState, int]:
  """Goes on from the run's latest checkpoint, if there is one.

  Returns:
    the state on the devices, and the step.

  Raises:
    RunError: if the checkpoint cannot be read.
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
  batches.set_state(position)
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
  """Says what a failed save means."""
  kept = manager.latest_step()
  left = 'nothing is saved yet' if kept is None else f'step {kept} is kept'
  return checkpoints.RunError(
    f'a checkpoint could not be written, {left}: '
    f'{str(error).strip().splitlines()[0][:300]}'
  )


def optimizer_of(
  settings: settings_lib.Optim, *, steps_per_epoch: float, total: int
) -> tuple[optax.GradientTransformation, optax.Schedule]:
  """Returns the optimizer and its learning rate."""
  schedule = optim.learning_rate(
    settings, steps_per_epoch=steps_per_epoch, total=total
  )
  return optim.adamw(settings, schedule), schedule


def config_of(card: Any, datasets: Datasets) -> dict[str, Any]:
  """Returns what `config.json` holds."""
  return {
    'card': plain(card),
    'data': datasets.facts,
    'vq_jax': vq_jax.__version__,
  }
