"""SIGTERM and Ctrl-C stop a training after a step, saved."""

import os
import signal
import threading

import jax
from jax.experimental import multihost_utils


class Interrupted(Exception):
  """A signal stopped a training; its state is saved.

  Attributes:
    signum: the signal.
  """

  def __init__(self, message: str, signum: int):
    """Keeps the signal with the message."""
    super().__init__(message)
    self.signum = signum


class SignalWatcher:
  """Watches for SIGINT and SIGTERM while its context is entered.

  A second Ctrl-C stops the training at once. In another thread than the main
  one, such as in a notebook, Python allows no handlers, and both signals act as
  always.

  Several processes must stop after the same step. JAX agrees on it once SIGTERM
  reaches one of them (`multihost_utils.reached_preemption_sync_point`), so they
  keep JAX's own handler of SIGTERM, and pass Ctrl-C on as SIGTERM.

  Attributes:
    signum: the signal that was received, or None.
  """

  def __init__(self):
    """Handles no signal before the context is entered."""
    self.signum: int | None = None
    self._before = {}

  def __enter__(self) -> 'SignalWatcher':
    """Installs the handlers."""
    if threading.current_thread() is threading.main_thread():
      one_process = jax.process_count() == 1
      handled = [signal.SIGINT] + [signal.SIGTERM] * one_process
      self._before = {s: signal.signal(s, self._handle) for s in handled}
    return self

  def __exit__(self, *exception) -> None:
    """Restores the previous handlers."""
    for signum, handler in self._before.items():
      signal.signal(signum, handler)

  def get_signal(self, step: int) -> int | None:
    """Returns the signal that stops the training after `step`, or None.

    All processes must call this after every step; they get the same answer.
    """
    if jax.process_count() == 1:
      return self.signum
    if multihost_utils.reached_preemption_sync_point(step):
      return signal.SIGTERM
    return None

  def _handle(self, signum, frame) -> None:
    if self.signum is not None:  # the second signal
      self.__exit__()
      raise KeyboardInterrupt
    self.signum = signum
    if jax.process_count() > 1:
      os.kill(os.getpid(), signal.SIGTERM)
