"""The metrics of the training steps since the last line of metrics."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from train.skipping import SKIPPED
from vq_jax.metrics import codebook


class DivergedError(RuntimeError):
  """A metric is not finite."""


class Window:
  """The metrics of the steps since the last line.

  They are kept on the devices until they are written, so that the host is one
  step ahead of the devices, and never more.

  Example:
    >>> window = Window(start=0, batch_size=8)
    >>> for loss in (1.0, 3.0):
    ...   window.add({'loss': jnp.float32(loss)})
    >>> window.flush()['loss']
    2.0
  """

  def __init__(self, start: int, batch_size: int, *, max_skipped: int = 10):
    """Starts after step `start`, with `batch_size` images per step.

    Args:
      start: number of steps that are done.
      batch_size: images per step.
      max_skipped: number of steps in a row that may be skipped.
    """
    self._step, self._batch_size = start, batch_size
    self._max_skipped, self._skipped_in_a_row = max_skipped, 0
    self._pending: list[dict[str, Any]] = []
    self._counts = None
    self.restart_clock()

  @contextlib.contextmanager
  def waiting_for_data(self) -> Iterator[None]:
    """Measures how long the loop waits for a batch."""
    began = time.monotonic()
    yield
    self._waited += time.monotonic() - began

  def add(self, metrics: dict[str, jax.Array]) -> None:
    """Adds the metrics of one step."""
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
    """Returns the means since the last flush, and starts again.

    A metric that only some of the steps have is averaged over these, and
    skipped steps are only counted: `skipped_steps`, see `train.skipping`.
    `window_usage` and `window_perplexity` are computed from the codes of all
    steps together. `data_wait` is the share of the time in which the loop
    waited for batches.

    Raises:
      DivergedError: at the first step with a metric that is not finite, or
        when too many steps in a row were skipped.
    """
    if not self._pending:
      return {}
    taken = jax.device_get(self._pending)
    num = len(taken)
    for step, record in enumerate(taken, self._step + 1):
      self._check(step, record)
    records = [r for r in taken if not r.get(SKIPPED)]
    names = {name: None for record in records for name in record}
    means = {
      name: float(np.mean([r[name] for r in records if name in r]))
      for name in names
    }
    if any(SKIPPED in record for record in taken):
      means[SKIPPED] = float(num - len(records))
    if self._counts is not None and records:
      stats = codebook.window_stats(self._counts)
      means.update({name: float(value) for name, value in stats.items()})
    seconds = time.monotonic() - self._began
    means['images_per_second'] = num * self._batch_size / seconds
    means['data_wait'] = self._waited / seconds
    self._step += num
    self._pending, self._counts = [], None
    self.restart_clock()
    return means

  def _check(self, step: int, record: dict[str, np.ndarray]) -> None:
    """Raises DivergedError if the metrics of a step say so."""
    if record.get(SKIPPED):
      self._skipped_in_a_row += 1
      if self._skipped_in_a_row >= self._max_skipped:
        raise DivergedError(
          f'{self._skipped_in_a_row} steps in a row were skipped, until step '
          f'{step}: their gradients are not finite or too large '
          '(train.on_nonfinite, optim.skip_above, train.max_skipped).'
        )
      return
    self._skipped_in_a_row = 0
    for name in sorted(record, key=lambda n: (n != 'loss', n)):
      if not np.isfinite(record[name]):
        raise DivergedError(
          f'at step {step} the metric {name} is {float(record[name])}.'
        )

  def restart_clock(self) -> None:
    """Excludes the time until now from `images_per_second` and `data_wait`."""
    self._began, self._waited = time.monotonic(), 0.0
