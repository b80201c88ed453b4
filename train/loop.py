"""The loop: every model of the library is trained by this one.

The unit of saving is (state, data iterator), written after a step and before
the next batch is drawn; so N steps, a restart and N more are 2N steps.
"""

import contextlib
import os
import pathlib
import signal
import time
from typing import Any

import jax

from train import config as config_lib
from train import datasets as datasets_lib
from train import intervals
from train import optim as optim_lib
from train import preemption
from train import run
from train import run_folder
from train import settings as settings_lib
from train import sharding
from train.logging import progress
from train.logging import report
from train.logging import window as window_lib
from train.logging import writers


def train(config_card: Any, workdir: str | os.PathLike) -> dict[str, float]:
  """Trains what a card describes in a run folder, or goes on with it.

  Args:
    config_card: a config card, from `config.load_card`, or a plain mapping.
    workdir: the run folder; made if it does not exist.

  Returns:
    The metrics of the last evaluation.

  Raises:
    ConfigError: something in the card is wrong; also SpecError, DataError.
    RunError: the folder holds something else, or cannot be read or written.
    Interrupted: SIGTERM or Ctrl-C came; the run is saved.
    DivergedError: a metric is not finite; the last good checkpoint stays.
  """
  folder = pathlib.Path(workdir)
  card = config_lib.parse_card(run_folder.plain(config_card))
  settings = config_lib.section(
    settings_lib.Parallel, 'parallel', card.parallel
  )
  batches = config_lib.section(settings_lib.Data, 'data', card.data)
  sizes = (batches.batch_size, batches.eval_batch_size)
  sharding.use_cpu_cores(*sizes)
  runner = sharding.make_runner(settings, batch_sizes=sizes)
  with run_folder.locked(folder):
    return _train(config_card, card, folder, runner)


def _train(
  config_card: Any,
  card: settings_lib.Card,
  folder: pathlib.Path,
  runner: sharding.JitRunner,
) -> dict[str, float]:
  datasets = datasets_lib.open_both(card, runner)
  config = run.config_of(config_card, card, folder, datasets)
  optim = config_lib.section(settings_lib.Optim, 'optim', card.optim)
  plan = intervals.Intervals.create(
    config_lib.section(settings_lib.Train, 'train', card.train),
    steps_per_epoch=len(datasets.train) / datasets.settings.batch_size,
  )
  before = run.previous_total(folder, plan)
  optimizer, schedule = optim_lib.optimizer_of(
    optim, steps_per_epoch=plan.steps_per_epoch, total=plan.total
  )
  task = run.make_task(card, folder, config, datasets, runner, plan)
  state = run.initial_state(
    card, folder, task, optimizer, average=optim.ema_decay is not None
  )
  run_folder.claim(folder, config)
  with contextlib.ExitStack() as stack:
    manager = stack.enter_context(
      run_folder.opened_checkpoints(folder, plan.keep)
    )
    batches = stack.enter_context(
      datasets_lib.train_batches(datasets, card.seed, runner)
    )
    state, done = run_folder.restore(manager, state, batches, runner)
    writer = stack.enter_context(writers.Writer(folder, done))
    bar = progress.Progress(
      folder.name,
      start=done,
      total=plan.total,
      batch_size=datasets.settings.batch_size,
    )
    stack.callback(bar.close)
    if done == plan.total:
      bar.say(f'all {done} steps are done already')
      return writers.last_evaluation(folder)
    if done:
      bar.say(f'goes on from step {done} of {plan.total}')
    if before not in (None, plan.total):
      bar.say(optim_lib.describe_extension(optim, plan, before, done))
    step_after = run.compiled_steps(
      task,
      optimizer,
      optim,
      runner,
      seed=card.seed,
      schedule=schedule,
      say=bar.say,
    )
    return _loop(
      step_after, state, batches, manager, task, runner, plan, writer, bar, done
    )


def _loop(
  step_after, state, batches, manager, task, runner, plan, writer, bar, done
) -> dict[str, float]:
  window = window_lib.Window(done, bar.batch_size)
  result: dict[str, float] = {}

  def write_metrics():
    means = window.flush()
    if means:
      writer.metrics(done, 'train', means)
      bar.metrics(done, {'loss': means['loss']})

  def evaluate():
    variables = runner.gather(state.eval_variables)
    found = task.evaluate(variables)
    writer.metrics(done, 'eval', found.metrics)
    writer.pictures(done, found.pictures)
    writer.histograms(done, found.histograms)
    report.write(writer.folder)
    bar.say(
      f'evaluation at step {done}: '
      + ', '.join(f'{k} {v:.4g}' for k, v in found.metrics.items())
    )
    window.restart_clock()
    return found.metrics

  def save():
    write_metrics()  # nothing that diverged is saved
    run_folder.save(manager, state, batches, runner, done)

  with preemption.Interrupt() as watch:
    began = time.monotonic()
    bar.say('compiling the first step ...')
    while done < plan.total:
      state, metrics = step_after(done)(state, next(batches))
      done += 1
      window.add(metrics)
      if began is not None:
        jax.block_until_ready(metrics)
        bar.first_step(time.monotonic() - began)
        window.restart_clock()
        began = None
      bar.advance()
      if plan.is_due(plan.log_every, done):
        write_metrics()
      if plan.is_due(plan.eval_every, done):
        write_metrics()
        result = evaluate()
      asked = watch.asked(done)
      if plan.is_due(plan.save_every, done) or asked:
        save()
      if asked and done < plan.total:
        run_folder.finish_saving(manager)
        raise preemption.Interrupted(
          f'stopped by {signal.Signals(asked).name} and saved at step {done} '
          f'of {plan.total}. The same command goes on from there.',
          asked,
        )
  run_folder.finish_saving(manager)
  return result
