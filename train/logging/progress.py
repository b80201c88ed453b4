"""A progress bar on a terminal, a line now and then in a log file."""

import sys
import time
from collections.abc import Mapping

import jax

from vq_jax.utils import packages


class Progress:
  """Shows steps, images per second, the time left and a few metrics.

  Only process 0 prints anything.

  Attributes:
    batch_size: images per step.
  """

  def __init__(self, name: str, *, start: int, total: int, batch_size: int):
    """Starts at step `start` of `total`.

    Args:
      name: name of the run.
      start: number of steps that are done.
      total: number of steps of the whole training.
      batch_size: images per step.
    """
    with packages.required_for('showing progress'):
      import tqdm

    self._tqdm = tqdm.tqdm
    self._name, self._total, self.batch_size = name, total, batch_size
    self._start, self._began = start, time.monotonic()
    self._quiet = jax.process_index() != 0
    terminal = sys.stderr.isatty() and not self._quiet
    self._bar = (
      self._tqdm(
        desc=name, total=total, initial=start, unit='step', smoothing=0.05
      )
      if terminal
      else None
    )

  def say(self, text: str) -> None:
    """Prints a line above the progress bar."""
    if not self._quiet:
      self._tqdm.write(f'{self._name}: {text}', file=sys.stderr)

  def first_step(self, seconds: float) -> None:
    """Prints how long compiling took, and starts to measure the speed."""
    self.say(f'the first step took {seconds:.0f} s, with its compilation.')
    self._start += 1
    self._began = time.monotonic()

  def advance(self) -> None:
    """Moves the bar by one step."""
    if self._bar is not None:
      self._bar.update()

  def metrics(self, step: int, values: Mapping[str, float]) -> None:
    """Shows metrics at a step."""
    shown = {k: f'{v:.4g}' for k, v in values.items()}
    text = ' '.join(f'{k} {v}' for k, v in shown.items())
    seconds = max(time.monotonic() - self._began, 1e-9)
    rate = max(step - self._start, 0) / seconds
    if self._bar is not None:
      self._bar.set_postfix_str(f'{rate * self.batch_size:.0f} img/s {text}')
    elif not self._quiet:
      left = (self._total - step) / rate if rate else 0
      self.say(
        f'step {step}/{self._total}, {rate * self.batch_size:.0f} images/s, '
        f'{self._tqdm.format_interval(left)} left: {text}'
      )

  def close(self) -> None:
    """Stops updating the bar."""
    if self._bar is not None:
      self._bar.close()
