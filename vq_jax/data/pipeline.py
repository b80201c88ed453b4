"""Training batches: endless, shuffled, resumable, read ahead by grain."""

import functools
import os
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from multiprocessing import util
from typing import Annotated
from typing import Any

import numpy as np

from vq_jax.data import workers as workers_lib
from vq_jax.data.base import ArraySource
from vq_jax.data.base import Source
from vq_jax.data.errors import DataError
from vq_jax.data.fetch import Batch
from vq_jax.data.fetch import Fetch
from vq_jax.data.fetch import Tally
from vq_jax.data.preprocessing import Preprocess
from vq_jax.utils import fields
from vq_jax.utils import packages

# Number of examples of an endless stream. Grain counts batches in floats, which
# are exact up to this number.
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
  """Reads a source in shuffled batches without end.

  Every epoch is another permutation, which is a function of the seed alone. No
  example is dropped: a batch may contain the end of one epoch and the start of
  the next. Process p of P reads rows [p B / P, (p + 1) B / P) of each batch.

  Example:
    >>> import numpy as np
    >>> from vq_jax import data
    >>> source = data.ArraySource(np.zeros((5, 8, 8, 1), np.uint8))
    >>> with data.train_batches(source, batch_size=4, seed=0) as batches:
    ...   next(batches)['image'].shape
    (4, 8, 8, 1)

  Args:
    source: the examples.
    batch_size: B, the number of examples of a batch on all processes.
    seed: seed of the order and of the preprocessing, in [0, 2**32).
    preprocess: operations that are applied to each image.
    process_index: p.
    process_count: P.
    workers: number of processes that read; 0 reads in threads of this process.
      With workers, the main program needs an `if __name__ == '__main__'` guard.
    prefetch: number of batches that are read ahead of time; 0 for none.
    transfer: function of a batch, called ahead of time; it may use devices.

  Returns:
    An endless iterator of batches, `image` uint8 [B / P, H, W, C] and `label`
    int32 [B / P], or of what `transfer` returns for them.

  Raises:
    DataError: if P does not divide B, or B exceeds the number of examples.
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
  """An endless iterator of batches; `train_batches` makes it.

  Its position can be saved and restored. The state counts the batches that were
  returned, not those that are read ahead, so it can be restored with another
  number of workers, prefetched batches or processes.
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
    """Is called by `train_batches`; reads nothing before the first `next`."""
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
    self._running: list[Iterator] = []  # at most one
    # Ends the workers at the exit of the interpreter if `close` was not called,
    # before the thread of grain (priority 15) that frees shared memory ends.
    util.Finalize(self, _end, args=(self._running,), exitpriority=100)
    self._closed = False

  @property
  def position(self) -> int:
    """Number of batches that were returned since the start of training."""
    return self._position

  def __iter__(self) -> 'TrainIterator':
    """Returns the iterator itself."""
    return self

  def __next__(self) -> Any:
    """Returns the next batch."""
    if self._closed:
      raise ValueError('this iterator is closed; call train_batches again.')
    batch, errors = self._read()
    self._tally.add(errors)
    self._position += 1
    return batch

  def get_state(self) -> dict[str, int]:
    """Returns the state for `set_state`: integers that JSON can store."""
    return {'position': self._position, **self._identity}

  def set_state(self, state: dict[str, int]) -> None:
    """Continues from the position at which `get_state` was called.

    Args:
      state: what `get_state` returned.

    Raises:
      DataError: if the state is that of another seed, source or batch size.
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
    assert position is not None
    _end(self._running)
    self._position = int(position)

  def close(self) -> None:
    """Ends threads and worker processes; can be called more than once."""
    self._closed = True
    _end(self._running)

  def __enter__(self) -> 'TrainIterator':
    """Returns the iterator itself."""
    return self

  def __exit__(self, *exception) -> None:
    """Calls `close`."""
    self.close()

  def _read(self):
    """Reads the next batch, also if worker processes die meanwhile."""
    deaths = 0
    while True:
      if not self._running:
        self._running.append(self._start())
      try:
        return next(self._running[0])
      except RuntimeError as error:
        deaths += 1
        name = self._fetch.source.name
        workers_lib.handle_death(error, deaths, name, self._position)
        _end(self._running)

  def _start(self) -> Iterator:
    with packages.required_for('reading training batches'):
      import grain

    index, count, local = self._shard
    # Hashed, or the epochs of neighbouring seeds are shifted copies.
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
      workers_lib.parse_flags()
      batches = batches.mp_prefetch(
        grain.MultiprocessingOptions(
          num_workers=self._workers,
          per_worker_buffer_size=max(1, self._prefetch),
        ),
        worker_init_fn=workers_lib.follow_parent,
      )
      # Batches of workers are in shared memory, which is not freed if they are
      # still in use, or read ahead, when the program ends.
      batches = batches.map(_copied)
    batches = batches.map(functools.partial(_transferred, self._transfer))
    if self._prefetch:
      batches = grain.experimental.ThreadPrefetchIterDataset(
        batches, prefetch_buffer_size=self._prefetch
      )
    return batches


def _end(running: list[Any]) -> None:
  """Closes the running iterators and drops them."""
  while running:
    running.pop().close()


def _fetch_local(fetch: Fetch, number: int, indices: np.ndarray):
  """Reads one of the local batches into which the stream is cut."""
  positions = number * len(indices) + np.arange(len(indices))
  batch, _, errors = fetch(positions, indices % len(fetch.source))
  return batch, errors


def _copied(element):
  batch, errors = element
  return {name: np.array(array) for name, array in batch.items()}, errors


def _transferred(transfer: Callable[[Batch], Any] | None, element):
  batch, errors = element
  return (transfer(batch) if transfer else batch), errors


def local_batch_size(
  batch_size: int, process_index: int, process_count: int
) -> int:
  """Returns the number of examples of a batch that one process reads."""
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
