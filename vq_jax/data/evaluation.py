"""Every example exactly once, in batches of one size."""

import math
from collections.abc import Iterator
from collections.abc import Sequence

import numpy as np

from vq_jax.data.base import Source
from vq_jax.data.errors import DataError
from vq_jax.data.fetch import Batch
from vq_jax.data.fetch import Fetch
from vq_jax.data.fetch import Tally
from vq_jax.data.pipeline import local_batch_size
from vq_jax.data.preprocessing import Preprocess
from vq_jax.data.preprocessing import refuse_random
from vq_jax.utils import fields

_AHEAD = 2


class EvalBatches:
  """The batches of one pass; iterate as often as you like.

  Attributes:
    num_examples: that all processes together see, unreadable ones included.
  """

  def __init__(
    self, fetch: Fetch, num_examples: int, shard: tuple[int, int, int]
  ):
    """Use `eval_batches`."""
    self.num_examples = num_examples
    self._fetch = fetch
    self._shard = shard
    self._tally = Tally(fetch.source)

  def __len__(self) -> int:
    """Number of batches, the same on every process."""
    _, count, local = self._shard
    return math.ceil(self.num_examples / (count * local))

  def __iter__(self) -> Iterator[Batch]:
    """Reads the batches of this process, a few ahead."""
    import grain

    index, count, _ = self._shard
    batches = iter(
      grain.MapDataset.range(len(self) * count)
      .map(self._read)[index::count]
      .to_iter_dataset(
        grain.ReadOptions(num_threads=_AHEAD, prefetch_buffer_size=_AHEAD)
      )
    )
    try:
      for batch, errors in batches:
        self._tally.add(errors)
        yield batch
    finally:
      batches.close()

  def _read(self, number: int):
    """Local batch `number` of the source cut into local batches."""
    local = self._shard[2]
    rows = number * local + np.arange(local)
    # The last example stands where there are none left; the mask says so.
    indices = np.minimum(rows, self.num_examples - 1)
    batch, readable, errors = self._fetch(rows, indices)
    batch['mask'] = readable & (rows < self.num_examples)
    return batch, errors


@fields.checked(error=DataError)
def eval_batches(
  source: Source,
  *,
  batch_size: fields.PositiveInt,
  preprocess: Sequence[Preprocess] = (),
  process_index: fields.NonNegativeInt = 0,
  process_count: fields.PositiveInt = 1,
  limit: fields.PositiveInt | None = None,
) -> EvalBatches:
  """Reads a source once, in its own order, in batches of one size.

  Process p of P gives rows [p * B / P, (p + 1) * B / P) of each global batch,
  and all processes give the same number of batches.

  Args:
    source: what to read.
    batch_size: B, of all processes together.
    preprocess: steps for each image; none of them random.
    process_index: p.
    process_count: P.
    limit: reads only the first `limit` examples.

  Returns:
    an iterable with a length. Its batches hold `image` uint8
    [B / P, H, W, C], `label` int32 [B / P] and `mask` bool [B / P], which is
    false where a row only fills the batch or could not be read.

  Raises:
    DataError: if a step is random, or the batch does not divide.
  """
  refuse_random(preprocess)
  local = local_batch_size(batch_size, process_index, process_count)
  num_examples = min(len(source), limit or len(source))
  fetch = Fetch(source=source, preprocess=tuple(preprocess), seed=0)
  return EvalBatches(fetch, num_examples, (process_index, process_count, local))
