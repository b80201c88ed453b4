"""Array operations of the preprocessing."""

from collections.abc import Iterable

import numpy as np

from vq_jax.data.errors import DataError


def resize(
  image: np.ndarray, size: tuple[int, int], resample: str
) -> np.ndarray:
  """Resizes an image uint8 [H, W, C] to a size (height, width)."""
  from PIL import Image

  if image.shape[:2] == size:
    return image
  method = Image.Resampling[resample.upper()]
  grey = image.shape[-1] == 1
  source = Image.fromarray(
    np.ascontiguousarray(image[..., 0] if grey else image)
  )
  pixels = np.array(source.resize(size[::-1], method))
  return pixels[..., None] if grey else pixels


def pad(image: np.ndarray, padding: int) -> np.ndarray:
  """Pads an image with black pixels on all sides."""
  h, w, c = image.shape
  canvas = np.zeros((h + 2 * padding, w + 2 * padding, c), np.uint8)
  canvas[padding : padding + h, padding : padding + w] = image
  return canvas


def check_size(step, image: np.ndarray) -> None:
  """Raises DataError if an image is too small for a crop of `step.size`."""
  h, w, _ = image.shape
  if min(h, w) < step.size:
    raise DataError(
      f'{type(step).__name__}(size={step.size}) needs an image of at least '
      f'{step.size}x{step.size}; got {h}x{w}. Put Resize(size={step.size}) '
      'before it.'
    )


def stack(images: Iterable[np.ndarray], number: int, name: str) -> np.ndarray:
  """Stacks images [H, W, C] of one shape to uint8 [B, H, W, C].

  Each image is copied before the next one is asked for: of images that are
  decoded on the way, only one is in memory, and in the cache of the processor.

  Args:
    images: the images.
    number: B, their number, at least 1.
    name: name of their source in the error.

  Raises:
    DataError: if the shapes differ.
  """
  images = iter(images)
  first = next(images)
  batch = np.empty((number, *first.shape), np.uint8)
  batch[0] = first
  found = {first.shape}
  for row, image in enumerate(images, start=1):
    found.add(image.shape)
    if len(found) == 1:
      batch[row] = image
  if len(found) > 1:
    shapes = sorted(found)[:4]
    sizes = ', '.join('x'.join(map(str, shape)) for shape in shapes)
    raise DataError(
      f'all images of a batch must have one shape; those of {name} differ in '
      f'size: {sizes}. Add Resize(size=..) and CenterCrop(size=..), or '
      'Channels(count=..), to the preprocessing.'
    )
  return batch
