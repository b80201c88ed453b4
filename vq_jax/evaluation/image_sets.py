"""Sets of images that are read batch by batch."""

import abc
import hashlib
import math
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from vq_jax import data
from vq_jax.data import fetch as fetch_lib
from vq_jax.data.preprocessing import Preprocess
from vq_jax.data.preprocessing import refuse_random
from vq_jax.data.read_ahead import map_ahead

_AHEAD = 2  # batches that are read while the previous one is used

Batch = Mapping[str, np.ndarray]


class ImageSet(abc.ABC):
  """Images with numbers from 0, each of which can be read by its number.

  Attributes:
    name: name in messages and records.
    image_shape: (H, W, C) of all images.
    class_names: names of the classes; fewer than two if there are no labels.
  """

  name: str
  image_shape: tuple[int, int, int]
  class_names: tuple[str, ...] = ()

  @abc.abstractmethod
  def __len__(self) -> int:
    """Returns the number of images."""

  @abc.abstractmethod
  def describe(self) -> dict[str, Any]:
    """Returns what identifies the images, as JSON."""

  @abc.abstractmethod
  def batches(self, rows: range, batch_size: int) -> Iterator[Batch]:
    """Reads images.

    Args:
      rows: the numbers of the images.
      batch_size: number of images of a batch.

    Yields:
      arrays of the examples: `image` uint8 [B, H, W, C] and others that
      subclasses add. Images that cannot be read are left out.
    """


class SourceImages(ImageSet):
  """The images of a data source.

  Example:
    >>> import numpy as np
    >>> from vq_jax import data
    >>> source = data.ArraySource(np.zeros((5, 8, 8, 1), np.uint8))
    >>> images = SourceImages(source)
    >>> [len(batch['image']) for batch in images.batches(range(5), 2)]
    [2, 2, 1]
  """

  def __init__(
    self,
    source: data.Source,
    preprocess: Sequence[Preprocess] = (),
    *,
    limit: int | None = None,
    seed: int = 0,
  ):
    """Reads the first image, for its shape.

    Args:
      source: the images.
      preprocess: operations that are applied to each; none may be random.
      limit: the largest number of images; if the source has more, they are a
        random choice.
      seed: seed of this choice.

    Raises:
      DataError: if an operation is random, or no image can be read.
    """
    refuse_random(preprocess)
    self.name = source.name
    self.class_names = source.class_names
    self._source = source
    self._index = np.arange(len(source))
    if limit is not None and limit < len(source):
      chosen = np.random.default_rng(seed).choice(len(source), limit, False)
      self._index = np.sort(chosen)
    self._preprocess = tuple(preprocess)
    self._fetch = fetch_lib.Fetch(
      source=source, preprocess=self._preprocess, seed=0
    )
    self._tally = fetch_lib.Tally(source)
    first, _, _ = self._fetch(np.arange(1), self._index[:1])
    self.image_shape = first['image'].shape[1:]

  def __len__(self) -> int:
    """Returns the number of images."""
    return len(self._index)

  def describe(self) -> dict[str, Any]:
    """Returns what identifies the images."""
    return {
      'source': self.name,
      'fingerprint': self._source.fingerprint(),
      'preprocess': list(map(repr, self._preprocess)),
      'index': hashlib.sha256(self._index.tobytes()).hexdigest(),
    }

  def batches(self, rows: range, batch_size: int) -> Iterator[Batch]:
    """Reads `image` and `label` int32 [B]; see `ImageSet`."""
    batches = map_ahead(
      lambda i: self._read(rows[i * batch_size : (i + 1) * batch_size]),
      range(math.ceil(len(rows) / batch_size)),
      ahead=_AHEAD,
    )
    for batch, readable, errors in batches:
      self._tally.add(errors)
      if batch['image'].shape[1:] != self.image_shape:
        raise data.DataError(
          f'all images must have one size; {self.name} has images '
          f'{list(self.image_shape)} and {list(batch["image"].shape[1:])}.'
        )
      yield {name: array[readable] for name, array in batch.items()}

  def _read(self, rows: range):
    numbers = np.arange(rows.start, rows.stop)
    return self._fetch(numbers, self._index[numbers])


def check_same_shape(generated: ImageSet, reference: ImageSet) -> None:
  """Raises ValueError unless the images of both sets have one shape."""
  a, b = generated.image_shape, reference.image_shape
  if tuple(a) != tuple(b):
    raise ValueError(
      'both sets must have images of one size and number of channels; '
      f'{generated.name} has {list(a)}, {reference.name} has {list(b)}. '
      'Resize or convert one of them.'
    )


def digests(images: np.ndarray) -> np.ndarray:
  """Returns the SHA-256 of each image, uint8 [B, 32].

  Args:
    images: uint8 [B, H, W, C].
  """
  shape = str(images.shape[1:]).encode()
  found = [
    hashlib.sha256(shape + np.ascontiguousarray(image).tobytes()).digest()
    for image in images
  ]
  return np.frombuffer(b''.join(found), np.uint8).reshape(-1, 32)
