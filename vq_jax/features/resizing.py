"""Resizing of images for the metrics of sets of images.

Distances between sets of images depend on it
(https://arxiv.org/abs/2104.11222), so each published way is here.
"""

import concurrent.futures
import functools
import os
from typing import Literal

import numpy as np

Resizer = Literal['clean', 'pytorch', 'tensorflow', 'none']
RESIZERS: tuple[Resizer, ...] = ('clean', 'pytorch', 'tensorflow', 'none')


def resize(
  images: np.ndarray, size: tuple[int, int], resizer: Resizer
) -> np.ndarray:
  """Resizes images.

  - 'clean', of clean-fid: Pillow's bicubic filter, antialiased, in float32 for
    each channel, clipped to [0, 255] and not rounded.
  - 'pytorch', of pytorch-fid: bilinear between the centres of pixels, without
    antialiasing.
  - 'tensorflow', of the original FID and of ADM's evaluator: bilinear from the
    upper left corners of pixels, as `resize_bilinear` of TensorFlow 1, without
    antialiasing.
  - 'none': the images must have the size.

  Args:
    images: uint8 [B, H, W, C].
    size: the new (H, W).
    resizer: the way.

  Returns:
    float32 [B, H, W, C] of the new size in [0, 255].

  Raises:
    ValueError: if the resizer is unknown, or is 'none' and the images have
      another size.

  Example:
    >>> import numpy as np
    >>> from vq_jax.features import resizing
    >>> image = np.array([0, 100], np.uint8).reshape(1, 1, 2, 1)
    >>> resizing.resize(image, (1, 4), 'pytorch')[0, 0, :, 0].tolist()
    [0.0, 25.0, 75.0, 100.0]
    >>> resizing.resize(image, (1, 4), 'tensorflow')[0, 0, :, 0].tolist()
    [0.0, 50.0, 100.0, 100.0]
  """
  check_resizer(resizer)
  if images.shape[1:3] == tuple(size):
    return images.astype(np.float32)
  if resizer == 'none':
    h, w = size
    raise ValueError(
      f"with the resizer 'none', images must have {h} x {w} pixels; got "
      f'{images.shape[1]} x {images.shape[2]}. Take another resizer: '
      f'{", ".join(RESIZERS[:-1])}.'
    )
  if resizer == 'clean':
    return _resize_with_pillow(images, size)
  for axis in (2, 1):
    images = _interpolate(
      images, size[axis - 1], axis, centred=resizer == 'pytorch'
    )
  return images


def check_resizer(resizer: str) -> Resizer:
  """Returns the name of a resizer; raises ValueError if it is unknown."""
  for known in RESIZERS:
    if known == resizer:
      return known
  raise ValueError(
    f'unknown resizer {resizer!r}. Valid: {", ".join(RESIZERS)}.'
  )


def _interpolate(
  images: np.ndarray, size: int, axis: int, centred: bool
) -> np.ndarray:
  """Interpolates linearly along an axis.

  Args:
    images: [B, H, W, C].
    size: the new length of the axis.
    axis: 1 or 2.
    centred: whether pixels are points at their centres; otherwise they are
      points at their left or upper borders.
  """
  length = images.shape[axis]
  scale = np.float32(length / size)
  at = np.arange(size, dtype=np.float32)
  at = (
    (at + np.float32(0.5)) * scale - np.float32(0.5) if centred else at * scale
  )
  at = np.maximum(at, 0)
  low = np.minimum(at.astype(np.int64), length - 1)
  high = np.minimum(low + 1, length - 1)
  shape = [1] * images.ndim
  shape[axis] = size
  weight = (at - low.astype(np.float32)).reshape(shape)
  first = images.take(low, axis).astype(np.float32)
  second = images.take(high, axis).astype(np.float32)
  return first + (second - first) * weight


def _resize_with_pillow(
  images: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
  """Resizes each channel as an image of floats."""
  channels = np.moveaxis(images, -1, 1).astype(np.float32)
  b, c, h, w = channels.shape
  # Pillow releases the interpreter's lock while it resizes.
  resized = list(
    _threads().map(
      functools.partial(_resize_channel, size=size),
      channels.reshape(b * c, h, w),
    )
  )
  stacked = np.stack(resized).reshape(b, c, *size)
  return np.moveaxis(stacked, 1, -1).clip(0, 255)


def _resize_channel(channel: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  from PIL import Image  # not needed to train or to sample

  image = Image.fromarray(channel)
  return np.asarray(image.resize(size[::-1], Image.Resampling.BICUBIC))


@functools.cache
def _threads() -> concurrent.futures.ThreadPoolExecutor:
  return concurrent.futures.ThreadPoolExecutor(os.cpu_count())
