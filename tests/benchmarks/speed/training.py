"""The training step of a config, on random examples."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from configs import common
from tests.benchmarks.speed import timing
from train import config as config_lib
from train import run as run_lib
from train import sharding
from train.planning import abstract
from train.planning import figures as figures_lib
from train.planning import programs
from vq_jax.utils import cpu
from vq_jax.utils.trees import Tree


def open_training(
  path: str, changes: Mapping[str, Any] | None = None, *, tokens: bool = False
) -> abstract.Training:
  """Returns the training that a config file describes, without its data.

  Args:
    path: `file.py` or `file.py:variant`.
    changes: fields that are changed, as nested dicts.
    tokens: whether a prior learns from tokens instead of images.
  """
  changes = dict(changes or {})
  if tokens:
    changes['data'] = {**changes.get('data', {}), 'source': 'tokens:nowhere'}
  config = common.merge(config_lib.load_config(path), changes)
  file = abstract.ConfigFile(
    config=config_lib.parse_config(config),
    learns_from=config_lib.get_learns_from(path),
  )
  return abstract.open_training(file, number=100_000, num_classes=None)


def make_arrays(shapes: Tree) -> Tree:
  """Returns random arrays: small numbers, and zeros instead of integers."""
  rng = np.random.default_rng(0)

  def make(x: jax.ShapeDtypeStruct) -> jax.Array:
    if not jnp.issubdtype(x.dtype, jnp.floating):
      return jnp.zeros(x.shape, x.dtype)
    values = rng.standard_normal(x.shape, np.float32)
    return jnp.asarray(0.02 * values, x.dtype)

  return jax.tree.map(make, shapes)


def make_state(
  training: abstract.Training, runner: sharding.JitRunner, step: int
) -> Tree:
  """Returns the first state, as if after `step` steps.

  Networks that are not trained have random weights.
  """
  seed = jax.random.key(0)
  variables = runner.init(training.task.init, seed)
  create = functools.partial(
    run_lib.create_state,
    training.task,
    training.optimizer,
    training.config.optim,
  )
  state = runner.init(create, variables, seed)
  return runner.place(
    state.replace(
      step=runner.put(jnp.asarray(step, jnp.int32)),
      frozen=runner.put(make_arrays(training.state.frozen)),
    )
  )


def make_batch(training: abstract.Training, size: int) -> dict[str, np.ndarray]:
  """Returns a batch of random images or tokens, with labels."""
  rng = np.random.default_rng(0)
  most = {'image': 256, 'label': training.examples.num_classes}
  if training.examples.tokens:
    grids = training.task.model.autoencoder.token_grids
    smallest = min(grid.codebook_size for grid in grids)
  return {
    name: rng.integers(0, most.get(name) or smallest, x.shape).astype(x.dtype)
    for name, x in training.get_batch(size).items()
  }


def _choose_devices(batch_size: int) -> list[jax.Device]:
  """Returns the devices that a training uses: of a CPU, as many as it pays."""
  found = jax.devices()
  if found[0].platform != 'cpu':
    return found
  return found[: cpu.count_cpu_devices(len(found), [batch_size])]


class TrainingStep:
  """A compiled training step, with its state and a batch on the devices.

  Attributes:
    batch_size: number of examples on all devices together.
    flops: operations of all matrix products and convolutions.
    memory: bytes on a device by the compiler's account.
    compile_seconds: how long the compilation took.
    metrics: those of the last step.
  """

  def __init__(
    self,
    training: abstract.Training,
    batch_size: int,
    *,
    memory: int | None = None,
  ):
    """Compiles the step, and makes the state and the batch.

    Of a training in phases, it is the last step.

    Args:
      training: the training.
      batch_size: number of examples on all devices together.
      memory: bytes that there are on a device, if known.

    Raises:
      DoesNotFit: if the step needs more memory.
    """
    self.batch_size = batch_size
    number = training.intervals.total - 1
    runner = sharding.make_runner(
      training.config.parallel, _choose_devices(batch_size), [batch_size]
    )
    source = programs.trace_step(
      training, runner, training.task.get_phase(number), batch_size
    )
    self._step, self.compile_seconds = figures_lib.compile_source(source)
    self.flops = source.flops
    self.memory = figures_lib.get_memory(source, self._step).total
    if memory is not None and self.memory > memory:
      raise figures_lib.DoesNotFit(
        f'a batch of {batch_size} needs {self.memory / 2**30:.1f} GiB'
      )
    self._state = make_state(training, runner, number)
    self._batch = runner.transfer(make_batch(training, batch_size))
    self.metrics: Mapping[str, jax.Array] = {}

  def repeat(self, n: int) -> None:
    """Trains n steps, and waits for the last one."""
    for _ in range(n):
      self._state, self.metrics = self._step(self._state, self._batch)
    jax.block_until_ready(self.metrics)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepFigures:
  """What is measured of a training step.

  Attributes:
    batch: number of examples on all devices together.
    seconds: time of a step.
    flops: operations of all matrix products and convolutions, those that are
      computed again in the backward pass counted again.
    memory: bytes on a device by the compiler's account.
    peak: the most bytes in use on a device since the process began, if known.
    compile_seconds: how long the compilation took.
    loss: the loss of the last step.
  """

  batch: int
  seconds: float
  flops: int
  memory: int
  peak: int | None
  compile_seconds: float
  loss: float


def measure_step(
  training: abstract.Training,
  batch_size: int,
  *,
  seconds: float,
  smallest: int = 1,
  memory: int | None = None,
) -> StepFigures:
  """Measures a step with the largest batch that fits.

  Args:
    training: the training.
    batch_size: the batch that is tried first; it is halved until it fits.
    seconds: how long the measurement takes, after the compilation.
    smallest: the smallest batch that is tried.
    memory: bytes that there are on a device, if known.

  Raises:
    FloatingPointError: if the loss is not finite.
  """

  def attempt(size: int) -> TrainingStep:
    trained = TrainingStep(training, size, memory=memory)
    trained.repeat(1)
    return trained

  trained = timing.halve_until_it_fits(attempt, batch_size, smallest)
  time_s = timing.time_repeats(trained.repeat, seconds)
  loss = float(trained.metrics['loss'])
  if not np.isfinite(loss):
    raise FloatingPointError(f'the loss is {loss} after a few steps')
  return StepFigures(
    batch=trained.batch_size,
    seconds=time_s,
    flops=trained.flops,
    memory=trained.memory,
    peak=timing.get_peak_memory(),
    compile_seconds=trained.compile_seconds,
    loss=loss,
  )
