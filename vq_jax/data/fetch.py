"""Reading of batches; images that cannot be decoded are replaced."""

import dataclasses
import warnings
from collections.abc import Iterable
from collections.abc import Iterator

import numpy as np

from vq_jax.data.base import ArraySource
from vq_jax.data.base import Example
from vq_jax.data.base import Source
from vq_jax.data.errors import DataError
from vq_jax.data.errors import UnreadableImage
from vq_jax.data.errors import UnreadableImageWarning
from vq_jax.data.pixels import stack
from vq_jax.data.preprocessing import Preprocess
from vq_jax.data.preprocessing import apply
from vq_jax.data.tokens import TokenSource

Batch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fetch:
  """Reads, preprocesses and stacks the examples of a batch.

  The random numbers of an example are a function of the seed and of its
  position in the stream, so the result does not depend on the thread, worker or
  process that reads it.

  Attributes:
    source: the examples.
    preprocess: operations that are applied to each image.
    seed: seed of these operations.
  """

  source: Source
  preprocess: tuple[Preprocess, ...]
  seed: int

  def __call__(
    self, positions: np.ndarray, indices: np.ndarray
  ) -> tuple[Batch, np.ndarray, tuple[UnreadableImage, ...]]:
    """Reads one batch.

    Args:
      positions: int [B], positions of the examples in the stream, which seed
        the preprocessing.
      indices: int [B], positions of the examples in the source.

    Returns:
      The batch; bool [B], True for examples that can be decoded (each of the
      others is replaced by the next one that can); and the errors of the
      others.
    """
    if isinstance(self.source, TokenSource) and self.preprocess:
      raise DataError(
        f'{self.source.name} holds tokens, which no preprocessing can change; '
        'leave it out, or augment when the tokens are made (--passes).'
      )
    if not self.preprocess and isinstance(
      self.source, ArraySource | TokenSource
    ):
      return self.source.batch(indices), np.ones(len(indices), bool), ()
    labels = np.empty(len(indices), np.int32)
    readable = np.ones(len(indices), bool)
    errors: list[UnreadableImage] = []

    def read_images() -> Iterator[np.ndarray]:
      found = self.source.read(indices.tolist())
      rngs = self._rngs(positions)
      for row, (example, rng) in enumerate(zip(found, rngs, strict=True)):
        if isinstance(example, UnreadableImage):
          readable[row] = False
          errors.append(example)
          example = self._stand_in(int(indices[row]), errors)
        labels[row] = example['label']
        yield apply(self.preprocess, example['image'], rng)

    images = stack(read_images(), len(indices), self.source.name)
    return {'image': images, 'label': labels}, readable, tuple(errors)

  def _rngs(self, positions: np.ndarray) -> Iterator[np.random.Generator]:
    """Yields the generator of each example; they are one object, reseeded."""
    bits = np.random.Philox(key=0)
    rng, state = np.random.Generator(bits), bits.state
    for position in positions:
      state['state']['key'] = np.array([self.seed, position], np.uint64)
      bits.state = state
      yield rng

  def _stand_in(self, index: int, errors: list[UnreadableImage]) -> Example:
    """Returns the next readable example; appends errors on the way."""
    length = len(self.source)
    for step in range(1, min(length, self.source.max_unreadable + 2)):
      (example,) = self.source.read([(index + step) % length])
      if not isinstance(example, Exception):
        return example
      errors.append(example)
    raise DataError(
      f'{len(errors)} images of {self.source.name} in a row cannot be read, '
      f'the last: {errors[-1]}'
    )


class Tally:
  """Counts the images of a source that cannot be read, each of them once.

  Attributes:
    names: names of the unreadable images so far.
  """

  def __init__(self, source: Source):
    """Takes the source, which has the limit."""
    self._source_name = source.name
    self._limit = source.max_unreadable
    self.names: set[str] = set()

  def add(self, errors: Iterable[UnreadableImage]) -> None:
    """Adds errors, with a warning for each new image.

    Raises:
      DataError: if there are more than `source.max_unreadable`.
    """
    for error in errors:
      if error.name in self.names:
        continue
      self.names.add(error.name)
      if len(self.names) > self._limit:
        raise DataError(
          f'{len(self.names)} images of {self._source_name} cannot be read, '
          f'and max_unreadable is {self._limit}; the last: {error}'
        )
      warnings.warn(
        f'{error}; skipped ({len(self.names)} so far)',
        UnreadableImageWarning,
        stacklevel=3,
      )
