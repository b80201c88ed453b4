"""What is measured: an item has a name and a function that measures it."""

import dataclasses
import functools
import time
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from tests.benchmarks.speed import sampling
from tests.benchmarks.speed import training as training_lib
from tests.benchmarks.speed.timing import Machine
from tests.benchmarks.speed.timing import time_repeats
from train.planning import abstract
from vq_jax.quantizers import nearest as nearest_lib

Figures = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Context:
  """How the items are measured.

  Attributes:
    smoke: whether models are tiny, to try the programs.
    seconds: how long a measurement takes, after the compilation.
    deadline: when all measurements should be done, as `time.time()`.
  """

  smoke: bool
  seconds: float
  deadline: float

  @functools.cached_property
  def machine(self) -> Machine:
    """The device at hand."""
    return Machine.measure(smoke=self.smoke)

  def measure_rate(self) -> float:
    """Returns the rate of matrix products of a device at this moment."""
    seconds = 0.1 if self.smoke else 0.3
    return self.machine.measure_rate(seconds)

  @property
  def seconds_left(self) -> float:
    """Seconds until the deadline."""
    return self.deadline - time.time()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Item:
  """Something that is measured.

  Attributes:
    name: what it is.
    measure: returns the figures: `batch`, `images_per_s`, `ms` and `flops` of a
      step or call, `devices` if it runs on several, `memory` in bytes,
      `compile_s`, `note`, and for a comparison `peer_images_per_s`.
    group: items of one group are measured in one process.
  """

  name: str
  measure: Callable[[Context], Figures]
  group: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
  """A config that is measured.

  Attributes:
    config: name of the config file.
    changes: fields that are changed, as nested dicts; not with `smoke`.
    dtypes: the parts of the config with a field `dtype`, such as
      'model.transformer'.
    tokens: whether it learns from tokens.
    batch: the batch that is tried first on a device with 72 GiB.
    cpu_batch: the batch on a CPU; a 32nd by default.
  """

  config: str
  batch: int
  changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  dtypes: tuple[str, ...] = ('model',)
  tokens: bool = False
  cpu_batch: int | None = None

  def open(
    self, context: Context, devices: int | None = None
  ) -> abstract.Training:
    """Returns the training, by shapes.

    Args:
      context: how it is measured.
      devices: number of accelerators that it uses; all by default.
    """
    path = f'configs/{self.config}.py'
    changes = dict(self.changes)
    if context.smoke:
      path, changes = f'{path}:smoke', {}
    if context.machine.dtype != 'float32':
      for part in self.dtypes:
        inner = {'dtype': context.machine.dtype}
        for key in reversed(part.split('.')):
          inner = {key: inner}
        changes = training_lib.common.merge(changes, inner)
    if devices is not None and context.machine.platform != 'cpu':
      changes['parallel'] = {'data': devices}
    return training_lib.open_training(path, changes, tokens=self.tokens)

  def get_batch(self, context: Context, devices: int | None = None) -> int:
    """Returns the batch that is tried first; see `open`."""
    machine = context.machine
    if context.smoke:
      return 2 * machine.devices
    if machine.platform == 'cpu':
      return self.cpu_batch or max(1, self.batch // 32)
    return machine.scale_batch(self.batch) * (devices or machine.devices)


def make_training_item(name: str, model: Model, group='training') -> Item:
  """Returns the item of a training step."""

  def measure(context: Context) -> Figures:
    machine = context.machine
    found = training_lib.measure_step(
      model.open(context),
      model.get_batch(context),
      seconds=context.seconds,
      smallest=machine.devices,
      memory=machine.memory,
    )
    return {
      'batch': found.batch,
      'images_per_s': found.batch / found.seconds,
      'ms': 1e3 * found.seconds,
      'flops': found.flops,
      'devices': machine.devices_that_add,
      'memory': found.memory,
      'peak': found.peak,
      'compile_s': found.compile_seconds,
      'loss': found.loss,
      'reads_images': not model.tokens,
    }

  return Item(name=name, measure=measure, group=group)


def _make_call_item(name, model: Model, measure_call, group='inference'):
  def measure(context: Context) -> Figures:
    found = measure_call(
      model.open(context), model.get_batch(context), seconds=context.seconds
    )
    return {
      'batch': found.batch,
      'images_per_s': found.batch / found.seconds,
      'ms': 1e3 * found.seconds,
      'flops': found.flops,
      'peak': found.peak,
      'compile_s': max(found.first - found.seconds, 0.0),
    }

  return Item(name=name, measure=measure, group=group)


def make_sampling_item(name: str, model: Model) -> Item:
  """Returns the item of sampling the tokens of a prior."""
  return _make_call_item(name, model, sampling.measure_sampling)


def make_codec_items(name: str, model: Model) -> list[Item]:
  """Returns the items of turning images into tokens, and tokens back."""
  return [
    _make_call_item(
      f'{name}: {what}',
      model,
      functools.partial(sampling.measure_codec, decode=decode),
    )
    for what, decode in (
      ('images to tokens', False),
      ('tokens to images', True),
    )
  ]


def make_search_item(
  codebook_size: int, code_dim: int, vectors: int = 65_536
) -> Item:
  """Returns the item of the search for the nearest of some codes."""

  def measure(context: Context) -> Figures:
    number = 64 if context.smoke else vectors
    z, codebook = training_lib.make_arrays(
      [
        jax.ShapeDtypeStruct((number, code_dim), jnp.float32),
        jax.ShapeDtypeStruct((codebook_size, code_dim), jnp.float32),
      ]
    )
    search = jax.jit(nearest_lib.nearest).lower(z, codebook).compile()

    def repeat(n: int) -> None:
      for _ in range(n):
        found = search(z, codebook)
      jax.block_until_ready(found)

    repeat(1)
    seconds = time_repeats(repeat, context.seconds)
    flops = 2 * number * codebook_size * code_dim
    return {
      'batch': number,
      'images_per_s': None,
      'ms': 1e3 * seconds,
      'flops': flops,
      'memory': search.memory_analysis().temp_size_in_bytes,
      'note': f'{number / seconds / 1e6:.3g} M vectors/s, in float32',
    }

  return Item(
    name=f'search among {codebook_size} codes of width {code_dim}',
    measure=measure,
    group='inference',
  )
