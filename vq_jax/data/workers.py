"""Worker processes of the input pipeline."""

import multiprocessing
import os
import re
import signal
import threading
import warnings

from vq_jax.data.errors import DataError
from vq_jax.data.errors import WorkerWarning

# How often workers may die before one batch is read.
_MAX_DEATHS = 3


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
  parent = multiprocessing.parent_process()
  assert parent is not None  # this runs in a worker
  parent.join()
  os._exit(1)  # the main thread may be blocked by a full buffer


def handle_death(
  error: RuntimeError, deaths: int, source: str, position: int
) -> None:
  """Warns of a worker that died, whose batches are then read again.

  Args:
    error: an error of grain.
    deaths: how often workers died while this batch was read.
    source: name of the source.
    position: number of batches that were read.

  Raises:
    RuntimeError: `error`, if it is about something else.
    DataError: if workers died too often.
  """
  code = re.search(
    r'terminated unexpectedly with exit code (-?\d+)', str(error)
  )
  if code is None:
    raise error
  ways = {-signal.SIGKILL: 'was killed, as when the memory is full'}
  died = ways.get(int(code[1]), f'ended with exit code {code[1]}')
  if deaths == _MAX_DEATHS:
    raise DataError(
      f'worker processes that read {source} died {deaths} times at batch '
      f'{position + 1}; the last one {died}. Read with fewer workers '
      '(data.workers), which need less memory.'
    ) from error
  warnings.warn(
    f'a worker process that reads {source} {died}. The workers are started '
    f'again at batch {position + 1}.',
    WorkerWarning,
    stacklevel=4,
  )


def parse_flags() -> None:
  """Marks the absl flags as parsed, because grain reads them in workers."""
  from absl import flags

  if not flags.FLAGS.is_parsed():
    flags.FLAGS.mark_as_parsed()
