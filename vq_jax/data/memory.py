"""Sources decoded once and kept in one array."""

import math
import sys
from collections.abc import Sequence

import numpy as np

from vq_jax.data.base import ArraySource
from vq_jax.data.base import Source
from vq_jax.data.errors import DataError
from vq_jax.data.fetch import Tally
from vq_jax.data.preprocessing import Channels
from vq_jax.data.preprocessing import Preprocess
from vq_jax.data.preprocessing import apply
from vq_jax.data.preprocessing import refuse_random

LIMIT = 2**30
_CHUNK = 256


def fits_in_memory(source: Source, *, limit: int = LIMIT) -> bool:
  """Whether all images have one known size and fit into `limit` bytes.

  A folder's sizes are not known: pass it to `in_memory` together with the
  steps that make them equal.
  """
  if source.image_shape is None:
    return False
  return len(source) * math.prod(source.image_shape) <= limit


def in_memory(
  source: Source, *, preprocess: Sequence[Preprocess] = (), limit: int = LIMIT
) -> ArraySource:
  """Decodes a source once; unreadable images are left out.

  Args:
    source: any source; an `ArraySource` is returned as it is.
    preprocess: steps that do not depend on chance, such as `Resize`, done now
      instead of at every reading.
    limit: bytes that the decoded images may take.

  Returns:
    the same examples, in one array.

  Raises:
    DataError: if the images differ in size, are too large together, or too
      many cannot be read.
  """
  refuse_random(preprocess)
  if isinstance(source, ArraySource) and not preprocess:
    return source
  images, labels = None, np.empty(len(source), np.int32)
  tally, count = Tally(source), 0
  for start in _progress(range(0, len(source), _CHUNK), source.name):
    rows = range(start, min(start + _CHUNK, len(source)))
    for example in source.read(rows):
      if isinstance(example, Exception):
        tally.add([example])
        continue
      image = apply(preprocess, example['image'], None)
      if images is None:
        images = _room(image.shape, source, limit)
      _require_shape(image, images.shape[1:], source.name)
      images[count], labels[count] = image, example['label']
      count += 1
  if images is None:
    raise DataError(
      f'none of the {len(source)} images of {source.name} can be read.'
    )
  return ArraySource(
    images[:count],
    labels[:count],
    class_names=source.class_names,
    name=source.name,
  )


def with_channels(source: ArraySource, channels: int | None) -> ArraySource:
  """The same images with 1 or 3 channels; `None`: as they are."""
  if channels is None or source.image_shape[-1] == channels:
    return source
  steps = (Channels(count=channels),)
  return in_memory(source, preprocess=steps, limit=sys.maxsize)


def _room(shape: tuple[int, ...], source: Source, limit: int) -> np.ndarray:
  size = len(source) * math.prod(shape)
  if size > limit:
    raise DataError(
      f'{source.name} must fit into {limit} bytes to be kept in memory; '
      f'{len(source)} images {list(shape)} take {size}. Read it as it is, or '
      'raise the limit.'
    )
  return np.empty((len(source), *shape), np.uint8)


def _require_shape(
  image: np.ndarray, shape: tuple[int, ...], name: str
) -> None:
  if image.shape != shape:
    raise DataError(
      f'images must have one shape to be kept in memory; those of {name} '
      f'differ in size: {list(shape)} and {list(image.shape)}. Pass '
      'preprocess=(Resize(size=..), CenterCrop(size=..)).'
    )


def _progress(chunks: range, name: str):
  """A bar that appears only if reading takes longer than a moment."""
  import tqdm

  return tqdm.tqdm(chunks, desc=f'reading {name}', delay=3, leave=False)
