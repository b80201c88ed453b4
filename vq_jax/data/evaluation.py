"""Evaluation batches: every example once, in batches of one size."""

import math
import os
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
from vq_jax.data.read_ahead import map_ahead
from vq_jax.data.sources import open_source
from vq_jax.data.tokens import require_images
from vq_jax.utils import fields

_AHEAD = 2


class EvalBatches:
  """The batches of one pass over a source; `eval_batches` makes them.

  It can be iterated over any number of times.

  Attributes:
    source: the source that is read.
    num_examples: number of examples of all processes together, including those
      that cannot be read.
  """

  def __init__(
    self, fetch: Fetch, num_examples: int, shard: tuple[int, int, int]
  ):
    """Is called by `eval_batches`."""
    self.source = fetch.source
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
    index, count, _ = self._shard
    numbers = range(index, len(self) * count, count)
    for batch, errors in map_ahead(self._read, numbers, ahead=_AHEAD):
      self._tally.add(errors)
      yield batch

  def to_arrays(self) -> tuple[np.ndarray, np.ndarray]:
    """Reads all batches of this process at once.

    Returns:
      images uint8 [N, H, W, C] and labels int32 [N] of all examples that can be
      read.
    """
    parts = [(b['image'][b['mask']], b['label'][b['mask']]) for b in self]
    images, labels = map(np.concatenate, zip(*parts, strict=True))
    return images, labels

  def _read(self, number: int):
    """Reads one of the local batches into which the source is cut."""
    local = self._shard[2]
    rows = number * local + np.arange(local)
    # The last batch is filled up with the last example, which is masked.
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

  Process p of P reads the rows [p * B / P, (p + 1) * B / P) of each global
  batch, and all processes read the same number of batches.

  Example:
    >>> import numpy as np
    >>> from vq_jax import data
    >>> source = data.ArraySource(np.zeros((5, 8, 8, 1), np.uint8))
    >>> for batch in data.eval_batches(source, batch_size=4):
    ...   print(batch['image'].shape, batch['mask'])
    (4, 8, 8, 1) [ True  True  True  True]
    (4, 8, 8, 1) [ True False False False]

  Args:
    source: the examples.
    batch_size: B, the number of examples of a batch on all processes.
    preprocess: operations that are applied to each image; none may be random.
    process_index: p.
    process_count: P.
    limit: number of examples to read, from the first on; None for all.

  Returns:
    An iterable with a length. Its batches hold `image` uint8
    [B / P, H, W, C], `label` int32 [B / P] and `mask` bool [B / P], which is
    False for rows that only fill the last batch or cannot be read.

  Raises:
    DataError: if an operation is random, or the batch size is not a multiple of
      the number of processes.
  """
  refuse_random(preprocess)
  local = local_batch_size(batch_size, process_index, process_count)
  num_examples = min(len(source), limit or len(source))
  fetch = Fetch(source=source, preprocess=tuple(preprocess), seed=0)
  return EvalBatches(fetch, num_examples, (process_index, process_count, local))


def open_eval_batches(
  spec: str,
  split: str = 'train',
  *,
  data_dir: str | os.PathLike | None = None,
  channels: int | None = None,
  preprocess: Sequence[Preprocess] = (),
  batch_size: int = 200,
  limit: int | None = None,
) -> EvalBatches:
  """Opens a source of images and reads it once, as an evaluation does.

  Args:
    spec: name of the source; see `open_source`.
    split: split of the source, such as `test` or `train[:90%]`.
    data_dir: folder in which TFDS keeps its data sets.
    channels: 1 or 3 converts the images; None takes them as they are.
    preprocess: operations that are applied to each image; none may be random.
    batch_size: number of examples of a batch, at most that of the source.
    limit: number of examples to read, from the first on; None for all.

  Returns:
    See `eval_batches`.

  Raises:
    DataError: if there is no such source, or it holds tokens.
  """
  source = open_source(spec, split, data_dir=data_dir, channels=channels)
  return eval_batches(
    require_images(source),
    batch_size=min(batch_size, len(source)),
    preprocess=preprocess,
    limit=limit,
  )
