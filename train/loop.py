"""The training loop of all tasks."""

import contextlib
import dataclasses
import os
import pathlib
import signal
import time
import types
from collections.abc import Hashable
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

import jax
import optax

from train import config as config_lib
from train import datasets as datasets_lib
from train import initialization
from train import optim as optim_lib
from train import preemption
from train import run_folder
from train import settings as settings_lib
from train import sharding
from train import step as step_lib
from train import tasks
from train.checkpointing import Checkpointer
from train.evaluation import Evaluator
from train.intervals import Intervals
from train.logging import report
from train.logging import writers
from train.logging.progress import Progress
from train.logging.window import Window
from train.state import TrainState
from train.tasks.base import Setup
from train.tasks.base import Task
from vq_jax import data


def train(
  config: Mapping[str, Any], workdir: str | os.PathLike
) -> dict[str, float]:
  """Trains what a config describes in a run folder, or resumes its training.

  Args:
    config: a config, from `config.load_card`, or a plain mapping.
    workdir: the run folder; it is created if it does not exist.

  Returns:
    The metrics of the last evaluation.

  Raises:
    ConfigError: something in the config is wrong; also SpecError, DataError.
    RunError: the folder holds something else, or cannot be read or written.
    Interrupted: SIGTERM or Ctrl-C stopped the training; it is saved.
    DivergedError: a metric is not finite; the last good checkpoint is kept.
  """
  with open_training(config, workdir) as training:
    return training.run()


@contextlib.contextmanager
def open_training(
  config: Mapping[str, Any], workdir: str | os.PathLike
) -> Iterator['Training']:
  """Opens a training, at its latest checkpoint; see `train`."""
  folder = pathlib.Path(workdir)
  plain = run_folder.to_plain(config)
  module = tasks.get_task_module(plain.get('task'))
  parsed = config_lib.section(module.Config, '', plain)
  parallel = config_lib.section(
    settings_lib.Parallel, 'parallel', parsed.parallel
  )
  data_config = config_lib.section(settings_lib.Data, 'data', parsed.data)
  sizes = (data_config.batch_size, data_config.eval_batch_size)
  sharding.use_cpu_cores(*sizes)
  runner = sharding.make_runner(parallel, batch_sizes=sizes)
  with run_folder.lock(folder), contextlib.ExitStack() as stack:
    datasets = datasets_lib.open_datasets(data_config, runner)
    setup = Setup(
      config=parsed,
      run=run_folder.prepare_run(folder, plain, datasets.facts),
      folder=folder,
      source=datasets.train,
      intervals=Intervals.create(
        config_lib.section(settings_lib.Train, 'train', parsed.train),
        steps_per_epoch=datasets.steps_per_epoch,
      ),
      axis_name=runner.axis_name,
    )
    yield _open(module, setup, datasets, runner, stack)


@dataclasses.dataclass(kw_only=True)
class Training:
  """A training that is running.

  Attributes:
    task: what is trained.
    optimizer: updates the parameters.
    schedule: the learning rate by step.
    optim: the config section `optim`.
    seed: determines all random numbers.
    runner: the devices.
    intervals: how long it takes, and what is due when.
    batches: the training batches.
    evaluator: evaluates the task.
    checkpointer: saves the state and the batches.
    writer: writes metrics and images.
    progress: prints messages.
    state: the state on the devices.
    done: number of steps that are done.
    result: metrics of the last evaluation.
  """

  task: Task
  optimizer: optax.GradientTransformation
  schedule: optax.Schedule
  optim: settings_lib.Optim
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
  result: dict[str, float] = dataclasses.field(default_factory=dict)

  def __post_init__(self):
    self._window = Window(self.done, self.progress.batch_size)
    self._steps: dict[Hashable, step_lib.Step] = {}

  def run(self) -> dict[str, float]:
    """Trains to the end; returns the metrics of the last evaluation."""
    intervals = self.intervals
    if self.done == intervals.total:
      self.progress.say(f'all {self.done} steps are done already.')
      return writers.last_evaluation(self.writer.folder)
    with preemption.SignalWatcher() as watcher:
      self._take_first_step()
      while True:
        if intervals.is_due(intervals.log_every, self.done):
          self._log()
        if intervals.is_due(intervals.eval_every, self.done):
          self._evaluate()
        signum = watcher.get_signal(self.done)
        if intervals.is_due(intervals.save_every, self.done) or signum:
          self._log()  # raises DivergedError, so that it is not saved
          self.checkpointer.save(self.done, self.state, self.batches)
        if self.done == intervals.total:
          break
        if signum:
          self._stop(signum)
        self._take_step()
    self.checkpointer.wait()
    return self.result

  def _take_first_step(self) -> None:
    """Takes a step and reports how long its compilation took."""
    began = time.monotonic()
    self.progress.say('compiling the training step ...')
    metrics = self._take_step()
    jax.block_until_ready(metrics)
    self.progress.first_step(time.monotonic() - began)
    self._window.restart_clock()

  def _take_step(self) -> step_lib.Metrics:
    step = self.get_step()
    self.state, metrics = step(self.state, next(self.batches))
    self.done += 1
    self._window.add(metrics)
    self.progress.advance()
    return metrics

  def get_step(self) -> step_lib.Step:
    """Returns the compiled step that comes next."""
    phase = self.task.get_phase(self.done)
    if phase not in self._steps:
      if self._steps:
        self.progress.say(
          f'step {self.done + 1} begins a new phase ({phase}), whose training '
          'step is compiled ...'
        )
      step = step_lib.make_step(
        self.task,
        phase,
        self.optimizer,
        self.optim,
        seed=self.seed,
        schedule=self.schedule,
        axis_name=self.runner.axis_name,
      )
      self._steps[phase] = self.runner.compile(step)
    return self._steps[phase]

  def _log(self) -> None:
    """Writes the metrics of the steps since the last line, if there are any."""
    means = self._window.flush()
    if means:
      self.writer.metrics(self.done, 'train', means)
      self.progress.metrics(self.done, {'loss': means['loss']})

  def _evaluate(self) -> None:
    self._log()
    variables = self.runner.gather(self.state.eval_variables)
    found = self.evaluator(variables)
    self.writer.metrics(self.done, 'eval', found.metrics)
    self.writer.images(self.done, found.images)
    self.writer.histograms(self.done, found.histograms)
    report.write(self.writer.folder)
    shown = ', '.join(f'{k} {v:.4g}' for k, v in found.metrics.items())
    self.progress.say(f'evaluation at step {self.done}: {shown}')
    self._window.restart_clock()
    self.result = found.metrics

  def _stop(self, signum: int) -> None:
    """Raises Interrupted once the last checkpoint is on the disk."""
    self.checkpointer.wait()
    raise preemption.Interrupted(
      f'stopped by {signal.Signals(signum).name} and saved at step {self.done} '
      f'of {self.intervals.total}. The same command resumes the training.',
      signum,
    )


def _open(
  module: types.ModuleType,
  setup: Setup,
  datasets: datasets_lib.Datasets,
  runner: sharding.JitRunner,
  stack: contextlib.ExitStack,
) -> Training:
  """Builds everything that a training needs, and restores its checkpoint."""
  config, folder, intervals = setup.config, setup.folder, setup.intervals
  optim = config_lib.section(settings_lib.Optim, 'optim', config.optim)
  train_config = config_lib.section(settings_lib.Train, 'train', config.train)
  previous = initialization.get_previous_intervals(folder, intervals)
  schedule = optim_lib.make_schedule(optim, intervals)
  optimizer = optim_lib.make_optimizer(optim, schedule)
  task = module.make_task(setup)
  state = initialization.make_initial_state(setup, task, optimizer)
  run_folder.claim(folder, task.model.config)
  checkpointer = Checkpointer(folder, runner, keep=train_config.keep)
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
    progress.say(optim_lib.describe_extension(optim, previous, intervals, done))
  return Training(
    task=task,
    optimizer=optimizer,
    schedule=schedule,
    optim=optim,
    seed=config.seed,
    runner=runner,
    intervals=intervals,
    batches=batches,
    evaluator=Evaluator(
      task, datasets.eval_batches, runner, train_config.pictures
    ),
    checkpointer=checkpointer,
    writer=stack.enter_context(writers.Writer(folder, done)),
    progress=progress,
    state=state,
    done=done,
  )
