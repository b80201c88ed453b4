"""Batches for training and for evaluation, read ahead by grain."""

import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from multiprocessing import util
from typing import Annotated
from typing import Any

import numpy as np

from vq_jax.data.base import ArraySource
from vq_jax.data.base import Source
from vq_jax.data.errors import DataError
from vq_jax.data.fetch import Batch
from vq_jax.data.fetch import Fetch
from vq_jax.data.fetch import Tally
from vq_jax.data.preprocessing import Preprocess
from vq_jax.utils import fields

# Examples; grain counts batches in floats, which are exact up to here.
_ENDLESS = 2**50


@fields.checked(error=DataError)
def train_batches(
  source: Source,
  *,
  batch_size: fields.PositiveInt,
  seed: fields.Seed,
  preprocess: Sequence[Preprocess] = (),
  process_index: fields.NonNegativeInt = 0,
  process_count: fields.PositiveInt = 1,
  workers: Annotated[int, fields.Range(least=0, most=1024)] = 0,
  prefetch: Annotated[int, fields.Range(least=0, most=2**16)] = 2,
  transfer: Callable[[Batch], Any] | None = None,
) -> 'TrainIterator':
  """Shuffles a source endlessly.

  Every epoch is a new permutation, a function of the seed alone. No example is
  dropped: a batch may hold the end of one epoch and the start of the next, and
  only such a batch can hold an example twice. Process p of P gives rows
  [p * B / P, (p + 1) * B / P) of each global batch, so the batches of all
  processes, joined in order, are those of a single process.

  Args:
    source: what to read.
    batch_size: B, of all processes together.
    seed: in [0, 2**32), of the order and of the preprocessing.
    preprocess: steps for each image.
    process_index: p.
    process_count: P.
    workers: processes that read; 0 reads in threads of this one. With workers,
      the program that starts needs an `if __name__ == '__main__'` guard.
    prefetch: batches that are ready ahead of time; 0 reads when asked.
    transfer: called on every batch, in the thread that prefetches; it may put
      the batch on devices.

  Returns:
    an endless iterator of batches: `image` uint8 [B / P, H, W, C] and `label`
    int32 [B / P], or what `transfer` makes of them.

  Raises:
    DataError: if the batch does not divide or is larger than the source.
  """
  local = local_batch_size(batch_size, process_index, process_count)
  if len(source) < batch_size:
    raise DataError(
      f'a batch must not be larger than its source; got batch_size='
      f'{batch_size} and {len(source)} examples in {source.name}.'
    )
  fetch = Fetch(source=source, preprocess=tuple(preprocess), seed=seed)
  return TrainIterator(
    fetch,
    batch_size=batch_size,
    shard=(process_index, process_count, local),
    workers=workers,
    prefetch=prefetch,
    transfer=transfer,
  )


class TrainIterator:
  """An endless iterator of batches whose position can be saved and restored.

  The state describes the batches that were taken, not those read ahead, and
  nothing else: it may be restored with other workers, prefetch or processes.
  """

  def __init__(
    self,
    fetch: Fetch,
    *,
    batch_size: int,
    shard: tuple[int, int, int],
    workers: int,
    prefetch: int,
    transfer: Callable[[Batch], Any] | None,
  ):
    """Use `train_batches`; nothing is read before the first batch is asked."""
    self._fetch = fetch
    self._shard = shard
    self._workers = workers
    self._prefetch = prefetch
    self._transfer = transfer
    self._identity = {
      'seed': fetch.seed,
      'length': len(fetch.source),
      'batch_size': batch_size,
    }
    self._position = 0
    self._tally = Tally(fetch.source)
    self._running: list[Iterator] = []  # none or one
    # Ends the workers at the interpreter's exit too, if nobody closed; before
    # grain's thread ends (priority 15) that frees what is in shared memory.
    util.Finalize(self, _end, args=(self._running,), exitpriority=100)
    self._closed = False

  @property
  def position(self) -> int:
    """Number of batches taken since the start of training."""
    return self._position

  def __iter__(self) -> 'TrainIterator':
    """Itself."""
    return self

  def __next__(self) -> Any:
    """The next batch."""
    if self._closed:
      raise ValueError('this iterator is closed; call train_batches again.')
    if not self._running:
      self._running.append(self._start())
    batch, errors = next(self._running[0])
    self._tally.add(errors)
    self._position += 1
    return batch

  def get_state(self) -> dict[str, int]:
    """What `set_state` needs; plain integers, fit for JSON."""
    return {'position': self._position, **self._identity}

  def set_state(self, state: dict[str, int]) -> None:
    """Goes to where `get_state` was called; the next batch is the next one.

    Raises:
      DataError: if the state belongs to another order of examples.
    """
    wrong = [
      f'{key} is {state.get(key)} in the state and {value} here'
      for key, value in self._identity.items()
      if state.get(key) != value
    ]
    position = state.get('position')
    if not isinstance(position, int | np.integer) or position < 0:
      wrong.append(f'its position is {position}')
    if wrong:
      raise DataError(
        'the state of a data iterator must come from the same seed, source '
        f'and batch size: {"; ".join(wrong)}. Give those of the state.'
      )
    _end(self._running)
    self._position = int(position)

  def close(self) -> None:
    """Ends threads and worker processes; may be called again."""
    self._closed = True
    _end(self._running)

  def __enter__(self) -> 'TrainIterator':
    """Itself."""
    return self

  def __exit__(self, *exception) -> None:
    """Closes."""
    self.close()

  def _start(self) -> Iterator:
    import grain

    index, count, local = self._shard
    # Neighbouring seeds must not give shifted copies of one series of epochs.
    order_seed = int(
      np.random.SeedSequence(self._fetch.seed).generate_state(1)[0]
    )
    dataset = (
      grain.MapDataset.range(len(self._fetch.source))
      .shuffle(seed=order_seed)
      .repeat(_ENDLESS // len(self._fetch.source) + 1)
      .batch(local, batch_fn=np.array)
      .map_with_index(functools.partial(_fetch_local, self._fetch))
    )
    dataset = dataset[index::count][self._position :]
    return iter(self._read_ahead(dataset))

  def _read_ahead(self, dataset):
    import grain

    in_array = isinstance(self._fetch.source, ArraySource)
    threads = 0
    if not self._workers and not (in_array and not self._fetch.preprocess):
      threads = min(self._prefetch, os.cpu_count() or 1)
    batches = dataset.to_iter_dataset(
      grain.ReadOptions(
        num_threads=threads, prefetch_buffer_size=threads and self._prefetch
      )
    )
    if self._workers:
      _parse_flags()
      batches = batches.mp_prefetch(
        grain.MultiprocessingOptions(
          num_workers=self._workers,
          per_worker_buffer_size=max(1, self._prefetch),
        ),
        worker_init_fn=_follow_parent,
      )
      # A batch of a worker lies in memory that it shares with this process, and
      # nobody frees what is still in use, or read ahead, when the program ends.
      batches = batches.map(_copied)
    batches = batches.map(functools.partial(_transferred, self._transfer))
    if self._prefetch:
      batches = grain.experimental.ThreadPrefetchIterDataset(
        batches, prefetch_buffer_size=self._prefetch
      )
    return batches


def _end(running: list[Iterator]) -> None:
  """Closes what runs and lets go of it."""
  while running:
    running.pop().close()


def _fetch_local(fetch: Fetch, number: int, indices: np.ndarray):
  """Batch `number` of the stream cut into local batches."""
  positions = number * len(indices) + np.arange(len(indices))
  batch, _, errors = fetch(positions, indices % len(fetch.source))
  return batch, errors


def _copied(element):
  batch, errors = element
  return {name: np.array(array) for name, array in batch.items()}, errors


def _transferred(transfer: Callable[[Batch], Any] | None, element):
  batch, errors = element
  return (transfer(batch) if transfer else batch), errors


def _follow_parent(worker: int, workers: int) -> None:
  """Makes a worker end when its parent closes it or dies, and not before.

  Ctrl-C, and SIGTERM from some launchers, reach workers too. One that died of
  them would leave the batch at hand in shared memory; the parent is about to
  close it in order. And without a parent it would wait for ever.
  """
  del worker, workers
  for signum in (signal.SIGINT, signal.SIGTERM):
    signal.signal(signum, signal.SIG_IGN)
  threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
  multiprocessing.parent_process().join()
  os._exit(1)  # the main thread may be waiting for room that nobody makes


def _parse_flags() -> None:
  """Worker processes read absl flags, which a plain script never parses."""
  from absl import flags

  if not flags.FLAGS.is_parsed():
    flags.FLAGS.mark_as_parsed()


def local_batch_size(
  batch_size: int, process_index: int, process_count: int
) -> int:
  """Examples of a batch that one process reads."""
  if not 0 <= process_index < process_count:
    raise DataError(
      f'process_index must lie in [0, process_count); got {process_index} of '
      f'{process_count}.'
    )
  if batch_size < 1 or batch_size % process_count:
    raise DataError(
      'batch_size counts the examples of all processes and must be a positive '
      f'multiple of their number; got {batch_size} for {process_count}.'
    )
  return batch_size // process_count
