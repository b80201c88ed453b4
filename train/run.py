"""Opens a run: its task, its first or latest state, and what it writes."""

import contextlib
import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

import jax
import optax

from train import config as config_lib
from train import datasets as datasets_lib
from train import optim as optim_lib
from train import run_folder
from train import sharding
from train import skipping
from train import tasks
from train.checkpointing import Checkpointer
from train.evaluation import Evaluator
from train.intervals import Intervals
from train.logging import writers
from train.logging.progress import Progress
from train.state import TrainState
from train.tasks.base import Setup
from train.tasks.base import Task
from vq_jax import data
from vq_jax.config import parse
from vq_jax.config import schema
from vq_jax.layers import stacked_parameters
from vq_jax.runs import checkpoints
from vq_jax.runs import checksums
from vq_jax.runs import layout
from vq_jax.runs import locations
from vq_jax.utils import cpu
from vq_jax.utils import trees
from vq_jax.utils.trees import Tree


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
  """Everything that the training loop needs.

  Attributes:
    task: what is trained.
    optimizer: updates the parameters.
    schedule: the learning rate by step.
    optim: the config section `optim`.
    train: the config section `train`.
    seed: determines all random numbers.
    runner: the devices.
    intervals: how long it takes, and what is due when.
    batches: the training batches.
    evaluator: evaluates the task.
    checkpointer: saves the state and the batches.
    writer: writes metrics and images.
    progress: prints messages.
    state: the state on the devices, of the latest checkpoint.
    done: number of steps that are done.
  """

  task: Task
  optimizer: optax.GradientTransformation
  schedule: optax.Schedule
  optim: schema.OptimConfig
  train: schema.TrainConfig
  seed: int
  runner: sharding.JitRunner
  intervals: Intervals
  batches: data.TrainIterator
  evaluator: Evaluator
  checkpointer: Checkpointer
  writer: writers.Writer
  progress: Progress
  state: TrainState
  done: int


@contextlib.contextmanager
def open_run(
  config: Mapping[str, Any] | schema.Config, workdir: str | os.PathLike
) -> Iterator[Run]:
  """Opens a run at its latest checkpoint; see `train.loop.train`."""
  folder = pathlib.Path(workdir)
  config = config_lib.parse_config(config)
  sizes = (config.data.batch_size, config.data.eval_batch_size)
  cpu.use_cpu_cores(*sizes)
  runner = sharding.make_runner(config.parallel, batch_sizes=sizes)
  with run_folder.lock(folder), contextlib.ExitStack() as stack:
    datasets = datasets_lib.open_datasets(config.data, runner)
    setup = Setup(
      config=config,
      run_config=run_folder.prepare_run(
        folder, parse.to_dict(config), datasets.facts
      ),
      folder=folder,
      source=datasets.train,
      intervals=Intervals.create(
        config.train, steps_per_epoch=datasets.steps_per_epoch
      ),
      axis_name=runner.axis_name,
    )
    yield _open(setup, datasets, runner, stack)


def _open(
  setup: Setup,
  datasets: datasets_lib.Datasets,
  runner: sharding.JitRunner,
  stack: contextlib.ExitStack,
) -> Run:
  """Builds everything that the loop needs, and restores the checkpoint."""
  config, folder, intervals = setup.config, setup.folder, setup.intervals
  previous = get_previous_intervals(folder, intervals)
  schedule = optim_lib.make_schedule(config.optim, intervals)
  optimizer = optim_lib.make_optimizer(config.optim, schedule)
  task = tasks.get_task_module(config.task).make_task(setup)
  state = make_initial_state(setup, task, optimizer, runner)
  run_folder.claim(folder, task.model.run_config)
  checkpointer = Checkpointer(folder, runner, keep=config.train.keep)
  stack.enter_context(checkpointer)
  batches = datasets_lib.make_train_batches(datasets, config.seed, runner)
  stack.enter_context(batches)
  state, done = checkpointer.restore(state, batches)
  progress = Progress(
    folder.name,
    start=done,
    total=intervals.total,
    batch_size=datasets.config.batch_size,
  )
  stack.callback(progress.close)
  if 0 < done < intervals.total:
    progress.say(f'resumes the training at step {done} of {intervals.total}.')
  if previous is not None and previous.total != intervals.total:
    progress.say(
      optim_lib.describe_extension(config.optim, previous, intervals, done)
    )
  return Run(
    task=task,
    optimizer=optimizer,
    schedule=schedule,
    optim=config.optim,
    train=config.train,
    seed=config.seed,
    runner=runner,
    intervals=intervals,
    batches=batches,
    evaluator=Evaluator(
      task, datasets.eval_batches, runner, config.train.num_images
    ),
    checkpointer=checkpointer,
    writer=stack.enter_context(writers.Writer(folder, done)),
    progress=progress,
    state=state,
    done=done,
  )


def make_initial_state(
  setup: Setup,
  task: Task,
  optimizer: optax.GradientTransformation,
  runner: sharding.JitRunner,
) -> TrainState:
  """Initialises a state, with the weights of `init_from` if it is given.

  With `parallel.fsdp` no device ever holds the whole state.

  A run that has a checkpoint of its own does not read `init_from` again.

  Args:
    setup: the config and the run folder.
    task: what is trained.
    optimizer: updates the parameters.
    runner: the devices.

  Raises:
    ConfigError: if `init_keep` is given without `init_from`.
    ValueError: if the weights do not fit; the message lists the differences.
  """
  config = setup.config
  if config.init_keep and config.init_from is None:
    raise schema.ConfigError(
      'config.init_keep lists the weights that are not taken from '
      'config.init_from; set config.init_from.'
    )
  variables = runner.init(task.init, jax.random.key(config.seed))
  if (
    config.init_from is not None
    and checkpoints.latest_step(setup.folder) is None
  ):
    source = locations.resolve(config.init_from)
    checksums.check_export(source)
    loaded, _ = checkpoints.load_variables(source)
    loaded = stacked_parameters.arrange_like(loaded, variables)
    other = layout.read_config(source)
    loaded = trees.merge_strict(
      variables,
      task.adapt_weights(variables, loaded, other),
      keep=config.init_keep,
      source=f'config.init_from={config.init_from}',
    )
    variables = runner.put(trees.cast_like(loaded, variables))

  create = functools.partial(create_state, task, optimizer, config.optim)
  state = runner.init(create, variables, jax.random.key(config.seed + 1))
  return state.replace(frozen=runner.put(task.frozen))


def create_state(
  task: Task,
  optimizer: optax.GradientTransformation,
  optim: schema.OptimConfig,
  variables: Tree,
  rng: jax.Array,
) -> TrainState:
  """Returns a state before the first step, without the frozen networks.

  Args:
    task: what is trained.
    optimizer: updates the parameters.
    optim: the config section `optim`.
    variables: variables of the trained network.
    rng: initialises what is trained beside it.
  """
  return TrainState.create(
    variables,
    optimizer,
    with_ema=optim.ema_decay is not None,
    frozen={},
    auxiliary=task.init_auxiliary(rng),
    norm_mean=None if optim.skip_above is None else skipping.NormMean.zeros(),
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
    parse.from_dict(
      schema.TrainConfig,
      layout.read_config(folder)['config']['train'],
      'config.train',
    ),
    steps_per_epoch=intervals.steps_per_epoch,
  )
  if intervals.total < previous.total:
    raise schema.ConfigError(
      'a training may become longer, but not shorter: the training in '
      f'{folder} takes {previous.total} steps, and {intervals.total} were '
      f'asked for. Ask for at least {previous.total}, or begin a new run with '
      f'its weights: another --workdir and --config.init_from={folder}.'
    )
  return previous
