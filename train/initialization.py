"""The state of a run before its first step."""

import pathlib

import jax
import optax

from train import config as config_lib
from train import run_folder
from train import settings as settings_lib
from train.intervals import Intervals
from train.state import TrainState
from train.tasks.base import Setup
from train.tasks.base import Task
from vq_jax import checkpoints
from vq_jax.utils import trees


def make_initial_state(
  setup: Setup, task: Task, optimizer: optax.GradientTransformation
) -> TrainState:
  """Initialises a state, with the weights of `init_from` if it is given.

  A run that has a checkpoint of its own does not read `init_from` again.

  Args:
    setup: the config and the run folder.
    task: what is trained.
    optimizer: updates the parameters.

  Raises:
    ConfigError: if `init_keep` is given without `init_from`.
    ValueError: if the weights do not fit; the message lists the differences.
  """
  config = setup.config
  if config.init_keep and config.init_from is None:
    raise settings_lib.ConfigError(
      'config.init_keep lists the weights that are not taken from '
      'config.init_from; set config.init_from.'
    )
  optim = config_lib.section(settings_lib.Optim, 'optim', config.optim)
  variables = jax.jit(task.init)(jax.random.key(config.seed))
  if (
    config.init_from is not None
    and checkpoints.latest_step(setup.folder) is None
  ):
    loaded, _ = checkpoints.load_variables(config.init_from)
    other = checkpoints.read_config(config.init_from)
    variables = trees.merge_strict(
      variables,
      task.adapt_weights(variables, loaded, other),
      keep=config.init_keep,
      source=f'config.init_from={config.init_from}',
    )
  return TrainState.create(
    variables,
    optimizer,
    with_ema=optim.ema_decay is not None,
    frozen=task.frozen,
    auxiliary=jax.jit(task.init_auxiliary)(jax.random.key(config.seed + 1)),
  )


def get_previous_intervals(
  folder: pathlib.Path, intervals: Intervals
) -> Intervals | None:
  """Returns the intervals of a run until now, or None if it is new.

  Args:
    folder: the run folder.
    intervals: the new ones.

  Raises:
    ConfigError: if the training is to be shorter than until now.
  """
  if not run_folder.is_claimed(folder):
    return None
  previous = Intervals.create(
    config_lib.section(
      settings_lib.Train,
      'train',
      checkpoints.read_config(folder)['card']['train'],
    ),
    steps_per_epoch=intervals.steps_per_epoch,
  )
  if intervals.total < previous.total:
    raise settings_lib.ConfigError(
      'config.train.duration may grow, but not shrink: the training in '
      f'{folder} takes {previous.total} steps, and {intervals.total} were '
      f'asked for. Ask for at least {previous.total}, or begin a new run with '
      f'its weights: another --workdir and --config.init_from={folder}.'
    )
  return previous
