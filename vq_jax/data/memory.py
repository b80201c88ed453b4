"""Sources that are decoded once and kept in memory."""

import math
import sys
from collections.abc import Sequence
from typing import Any
from typing import Literal
from typing import cast

import numpy as np

from vq_jax.data.base import ArraySource
from vq_jax.data.base import Source
from vq_jax.data.errors import DataError
from vq_jax.data.fetch import Tally
from vq_jax.data.preprocessing import Channels
from vq_jax.data.preprocessing import Preprocess
from vq_jax.data.preprocessing import apply
from vq_jax.data.preprocessing import refuse_random
from vq_jax.utils import packages

LIMIT = 2**30
_CHUNK = 256


def fits_in_memory(source: Source, *, limit: int = LIMIT) -> bool:
  """Returns whether all images have one known shape and fit into memory.

  The shapes of images in a folder are not known before they are decoded; such
  a source can be passed to `in_memory` with preprocessing that makes the shapes
  equal.

  Args:
    source: the examples.
    limit: number of bytes that the decoded images may take.
  """
  if source.image_shape is None:
    return False
  return len(source) * math.prod(source.image_shape) <= limit


def in_memory(
  source: Source, *, preprocess: Sequence[Preprocess] = (), limit: int = LIMIT
) -> ArraySource:
  """Decodes all images of a source into one array.

  Images that cannot be decoded are left out.

  Args:
    source: the examples; an `ArraySource` is returned as it is.
    preprocess: operations that are applied now instead of whenever an image is
      read; none may be random.
    limit: number of bytes that the decoded images may take.

  Returns:
    The same examples in one array.

  Raises:
    DataError: if the images differ in shape, exceed the limit, or too many of
      them cannot be decoded.
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
      image = apply(preprocess, example['image'], cast(Any, None))
      if images is None:
        images = _allocate(image.shape, source, limit)
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
  """Returns the images with 1 or 3 channels; None keeps their channels."""
  if channels is None or source.images.shape[-1] == channels:
    return source
  steps = (Channels(count=cast(Literal[1, 3], channels)),)
  return in_memory(source, preprocess=steps, limit=sys.maxsize)


def _allocate(shape: tuple[int, ...], source: Source, limit: int) -> np.ndarray:
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
  """Returns a progress bar that appears after three seconds."""
  with packages.required_for('reading a data set into memory'):
    import tqdm

  return tqdm.tqdm(chunks, desc=f'reading {name}', delay=3, leave=False)
