"""The metrics of the training steps since the last line of metrics."""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

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

  def __init__(self, start: int, batch_size: int):
    """Starts after step `start`, with `batch_size` images per step."""
    self._step, self._batch_size = start, batch_size
    self._pending: list[dict[str, Any]] = []
    self._counts = None
    self._began = time.monotonic()

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

    A metric that only some of the steps have is averaged over these.
    `window_usage` and `window_perplexity` are computed from the codes of all
    steps together.

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
    """Excludes the time until now from the images per second."""
    self._began = time.monotonic()
