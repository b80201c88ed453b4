"""Worker processes of the input pipeline."""

import multiprocessing
import os
import signal
import threading


def follow_parent(worker: int, workers: int) -> None:
  """Makes a worker end when its parent closes it or dies, and not before.

  Ctrl-C, and SIGTERM of some launchers, reach the workers too. A worker that
  ended by them would leave a batch in shared memory, while the parent is about
  to close it properly. A worker whose parent was killed would wait forever.
  """
  del worker, workers
  for signum in (signal.SIGINT, signal.SIGTERM):
    signal.signal(signum, signal.SIG_IGN)
  threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
  multiprocessing.parent_process().join()
  os._exit(1)  # the main thread may be blocked by a full buffer


def parse_flags() -> None:
  """Marks the absl flags as parsed, because grain reads them in workers."""
  from absl import flags

  if not flags.FLAGS.is_parsed():
    flags.FLAGS.mark_as_parsed()
