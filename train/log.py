"""When things are due, and what happened since the last line of metrics."""

import dataclasses
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from train import config as config_lib
from train import settings as settings_lib
from vq_jax.metrics import codebook


class DivergedError(RuntimeError):
  """A metric is not finite."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
  """Section `train` in steps.

  Attributes:
    total: steps of the whole training.
    log_every: between lines of metrics.
    eval_every: between evaluations.
    save_every: between checkpoints.
    keep: checkpoints that stay.
    pictures: images in a grid.
    steps_per_epoch: how many make a pass over the training examples.
  """

  total: int
  log_every: int
  eval_every: int
  save_every: int
  keep: int
  pictures: int
  steps_per_epoch: float

  @classmethod
  def create(
    cls, settings: settings_lib.Train, *, steps_per_epoch: float
  ) -> 'Plan':
    """Resolves all durations.

    Raises:
      ConfigError: if a duration is none or 0.
    """

    def steps(name, total):
      values = getattr(settings, name)
      duration = config_lib.section(
        settings_lib.Duration, f'train.{name}', values
      )
      if not any(dataclasses.astuple(duration)):
        raise settings_lib.ConfigError(
          f"train.{name} must be longer than 0; {{'percent': 100}} of it is "
          'the end alone.'
        )
      found = duration.resolve(steps_per_epoch=steps_per_epoch, total=total)
      return max(found, 1)

    total = steps('duration', None)
    return cls(
      total=total,
      log_every=steps('log_every', total),
      eval_every=steps('eval_every', total),
      save_every=steps('save_every', total),
      keep=settings.keep,
      pictures=settings.pictures,
      steps_per_epoch=steps_per_epoch,
    )

  def due(self, every: int, step: int) -> bool:
    """Whether something that happens so often, and at the end, is due."""
    return step % every == 0 or step == self.total


class Window:
  """The metrics of the steps since the last line.

  They stay on the devices until they are asked for, so that the host runs
  ahead of the devices by one step, and no more.
  """

  def __init__(self, start: int, batch_size: int):
    """Begins after step `start`."""
    self._step, self._batch_size = start, batch_size
    self._pending: list[dict[str, Any]] = []
    self._counts = None
    self._began = time.monotonic()

  def add(self, metrics: dict[str, jax.Array]) -> None:
    """Takes the metrics of one step."""
    if self._pending:
      jax.block_until_ready(self._pending[-1])
    metrics = dict(metrics)
    counts = metrics.pop('code_counts', None)
    if counts is not None:
      before = self._counts
      self._counts = (
        counts if before is None else jax.tree.map(jnp.add, before, counts)
      )
    self._pending.append(metrics)

  def flush(self) -> dict[str, float]:
    """Returns the means since the last flush, and begins anew.

    A metric that not all steps have is the mean of those that have it.
    `window_usage` and `window_perplexity` are those of all codes chosen since.

    Raises:
      DivergedError: at the first step with a metric that is not finite.
    """
    if not self._pending:
      return {}
    records = jax.device_get(self._pending)
    for i, record in enumerate(records):
      for name in sorted(record, key=lambda n: (n != 'loss', n)):
        if not np.isfinite(record[name]):
          raise DivergedError(
            f'at step {self._step + i + 1} the metric {name} is '
            f'{float(record[name])}.'
          )
    names = {name: None for record in records for name in record}
    means = {
      name: float(np.mean([r[name] for r in records if name in r]))
      for name in names
    }
    if self._counts is not None:
      stats = codebook.window_stats(self._counts)
      means.update({name: float(value) for name, value in stats.items()})
    seconds = time.monotonic() - self._began
    means['images_per_second'] = len(records) * self._batch_size / seconds
    self._step += len(records)
    self._pending, self._counts = [], None
    self._began = time.monotonic()
    return means

  def restart_clock(self) -> None:
    """Leaves the time of an evaluation out of the images per second."""
    self._began = time.monotonic()
