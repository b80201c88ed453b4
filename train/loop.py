"""The training loop of all tasks."""

import os
import signal
import time
from collections.abc import Hashable
from collections.abc import Mapping
from typing import Any

import jax

from train import preemption
from train import run as run_lib
from train import step as step_lib
from train.logging import report
from train.logging import writers
from train.logging.window import Window
from train.skipping import SKIPPED
from vq_jax.config import schema
from vq_jax.utils import packages


def train(
  config: Mapping[str, Any] | schema.Config, workdir: str | os.PathLike
) -> dict[str, float]:
  """Trains what a config describes in a run folder, or resumes its training.

  Args:
    config: a config, from `config.load_config`, or a `Config`.
    workdir: the run folder; it is created if it does not exist.

  Returns:
    The metrics of the last evaluation.

  Raises:
    ConfigError: something in the config is wrong; also SpecError, DataError.
    RunError: the folder holds something else, or cannot be read or written.
    Interrupted: SIGTERM or Ctrl-C stopped the training; it is saved.
    MissingPackageError: a package of the extra `train` is not installed.
    DivergedError: a metric is not finite; the last good checkpoint is kept.
  """
  packages.require_for_training()
  with run_lib.open_run(config, workdir) as run:
    return Loop(run).run()


class Loop:
  """The loop: steps, and what is due between them."""

  def __init__(self, run: run_lib.Run):
    """Starts at the latest checkpoint of a run."""
    self._run, self._done, self._state = run, run.done, run.state
    self._window = Window(
      run.done, run.progress.batch_size, max_skipped=run.train.max_skipped
    )
    self._steps: dict[Hashable, step_lib.Step] = {}
    self._result: dict[str, float] = {}

  def run(self) -> dict[str, float]:
    """Trains to the end; returns the metrics of the last evaluation."""
    intervals = self._run.intervals
    if self._done == intervals.total:
      self._run.progress.say(f'all {self._done} steps are done already.')
      return writers.last_evaluation(self._run.writer.folder)
    with preemption.SignalWatcher() as watcher:
      self._take_first_step()
      while True:
        if intervals.is_due(intervals.log_every, self._done):
          self._log()
        if intervals.is_due(intervals.eval_every, self._done):
          self._evaluate()
        signum = watcher.get_signal(self._done)
        if intervals.is_due(intervals.save_every, self._done) or signum:
          self._log()  # raises DivergedError, so that it is not saved
          self._run.checkpointer.save(
            self._done, self._state, self._run.batches
          )
        if self._done == intervals.total:
          break
        if signum:
          self._stop(signum)
        self._take_step()
    self._run.checkpointer.wait()
    return self._result

  def _take_first_step(self) -> None:
    """Takes a step and reports how long its compilation took."""
    began = time.monotonic()
    self._run.progress.say('compiling the training step ...')
    metrics = self._take_step()
    jax.block_until_ready(metrics)
    self._run.progress.first_step(time.monotonic() - began)
    self._window.restart_clock()

  def _take_step(self) -> step_lib.Metrics:
    step = self.get_step()
    with self._window.waiting_for_data():
      batch = next(self._run.batches)
    self._state, metrics = step(self._state, batch)
    self._done += 1
    self._window.add(metrics)
    self._run.progress.advance()
    return metrics

  def get_step(self) -> step_lib.Step:
    """Returns the compiled step that comes next."""
    phase = self._run.task.get_phase(self._done)
    if phase not in self._steps:
      if self._steps:
        self._run.progress.say(
          f'step {self._done + 1} begins a new phase ({phase}), whose training '
          'step is compiled ...'
        )
      step = step_lib.make_step(
        self._run.task,
        phase,
        self._run.optimizer,
        self._run.optim,
        seed=self._run.seed,
        schedule=self._run.schedule,
        skip_nonfinite=self._run.train.on_nonfinite == 'skip',
        dropout_rng=self._run.train.dropout_rng,
        axis_name=self._run.runner.axis_name,
      )
      self._steps[phase] = self._run.runner.compile(step, self._state)
    return self._steps[phase]

  def _log(self) -> None:
    """Writes the metrics of the steps since the last line, if there are any."""
    means = self._window.flush()
    if means:
      self._run.writer.metrics(self._done, 'train', means)
      shown = {k: means[k] for k in ('loss', SKIPPED) if means.get(k)}
      self._run.progress.metrics(self._done, shown)

  def _evaluate(self) -> None:
    self._log()
    networks = {
      **self._state.frozen,
      self._run.task.trained: self._state.eval_variables,
    }
    found = self._run.evaluator(self._run.runner.gather(networks))
    self._run.writer.metrics(self._done, 'eval', found.metrics)
    self._run.writer.images(self._done, found.images)
    self._run.writer.histograms(self._done, found.histograms)
    report.write(self._run.writer.folder)
    shown = ', '.join(f'{k} {v:.4g}' for k, v in found.metrics.items())
    self._run.progress.say(f'evaluation at step {self._done}: {shown}')
    self._window.restart_clock()
    self._result = found.metrics

  def _stop(self, signum: int) -> None:
    """Raises Interrupted once the last checkpoint is on the disk."""
    self._run.checkpointer.wait()
    name = signal.Signals(signum).name
    raise preemption.Interrupted(
      f'stopped by {name} and saved at step {self._done} of'
      f' {self._run.intervals.total}. The same command resumes the training.',
      signum,
    )
