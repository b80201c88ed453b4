"""SIGTERM and Ctrl-C ask for an orderly end; a second Ctrl-C insists."""

import signal
import threading

import jax
import numpy as np
from jax.experimental import multihost_utils

_AGREE_EVERY = 10  # steps


class Interrupted(Exception):
  """A run ended early, saved, because it was asked to.

  Attributes:
    signum: the signal that asked.
  """

  def __init__(self, message: str, signum: int):
    """Keeps the signal beside the message."""
    super().__init__(message)
    self.signum = signum


class Interrupt:
  """Watches for SIGINT and SIGTERM while it is entered.

  Signals reach only the main thread; in another one (a notebook's, say)
  nothing is watched and they act as always.

  Attributes:
    signum: the signal that came, or None.
  """

  _SIGNALS = (signal.SIGINT, signal.SIGTERM)

  def __init__(self):
    """Nothing is watched before it is entered."""
    self.signum: int | None = None
    self._before = {}

  def __enter__(self) -> 'Interrupt':
    """Starts to watch."""
    if threading.current_thread() is threading.main_thread():
      self._before = {s: signal.signal(s, self._handle) for s in self._SIGNALS}
    return self

  def __exit__(self, *exception) -> None:
    """Puts the former handlers back."""
    for signum, handler in self._before.items():
      signal.signal(signum, handler)

  def asked(self, step: int) -> int | None:
    """Returns the signal that came, the same on every process.

    Several processes must stop after the same step, so they agree on it; they
    do so every few steps, because it costs an exchange.
    """
    if jax.process_count() == 1:
      return self.signum
    if step % _AGREE_EVERY:
      return None
    all_asked = multihost_utils.process_allgather(np.int32(self.signum or 0))
    return int(all_asked.max()) or None

  def _handle(self, signum, frame) -> None:
    if self.signum is not None:  # asked twice: the former handler decides
      self.__exit__()
      raise KeyboardInterrupt
    self.signum = signum
