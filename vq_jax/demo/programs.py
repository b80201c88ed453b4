"""A bound on the compiled programs that a long-lived process keeps."""

import contextlib
import threading
from collections.abc import Hashable
from collections.abc import Iterator

import jax


class Programs:
  """Runs one action at a time, and drops all programs when there are many.

  The options of a sampler are static arguments of its compiled program, so that
  each combination that a user tries is a new program.

  Args:
    most: the number of kinds of actions after which all programs are dropped.

  Example:
    >>> from vq_jax.demo import programs
    >>> bounded = programs.Programs(most=2)
    >>> for steps in (1, 2, 3):
    ...   with bounded.running('sample', steps):
    ...     pass
    >>> len(bounded)
    1
  """

  def __init__(self, most: int = 16):
    """Starts without any program."""
    self._most = most
    self._kinds: set[Hashable] = set()
    self._lock = threading.Lock()

  def __len__(self) -> int:
    """The number of kinds since the programs were dropped."""
    return len(self._kinds)

  @contextlib.contextmanager
  def running(self, *kind: Hashable) -> Iterator[None]:
    """Waits for other actions, and runs one of a kind.

    Args:
      *kind: all that its compiled programs depend on.
    """
    with self._lock:
      if kind not in self._kinds and len(self._kinds) >= self._most:
        jax.clear_caches()
        self._kinds.clear()
      self._kinds.add(kind)
      yield
