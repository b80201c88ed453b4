"""Decoding of image files of any format to uint8 [H, W, C]."""

import functools
import io
import os
from typing import TYPE_CHECKING

import numpy as np

from vq_jax.data.errors import DataError
from vq_jax.data.errors import UnreadableImage
from vq_jax.utils import file_kinds

if TYPE_CHECKING:
  from PIL import Image

GREY_MODES = frozenset(
  {'1', 'L', 'LA', 'La', 'I', 'I;16', 'I;16B', 'I;16L', 'I;16N'}
)

# Formats of Pillow that are not still images (films, grids of numbers), or that
# start other programs.
_NO_IMAGES = frozenset(
  {'BUFR', 'EPS', 'FLI', 'GRIB', 'HDF5', 'MPEG', 'PDF', 'WMF'}
)

_COMMON = frozenset({'BMP', 'GIF', 'JPEG', 'PNG', 'TIFF', 'WEBP'})


@functools.cache
def _formats() -> tuple[str, ...]:
  """Returns the names, in Pillow, of the formats that are read."""
  from PIL import Image

  Image.init()
  # Pillow tries them in this order, and those without a signature are slow.
  found = sorted(Image.ID, key=lambda name: (name not in _COMMON, name))
  return tuple(name for name in found if name not in _NO_IMAGES)


@functools.cache
def image_suffixes() -> tuple[str, ...]:
  """Returns the file suffixes of all formats that are read: .avif, ..."""
  from PIL import Image

  # Files of several images (MPO) are opened by the reader of JPEG.
  readable = {*_formats(), 'MPO'}
  found = Image.registered_extensions()
  return tuple(sorted(s for s, name in found.items() if name in readable))


def check_channels(channels: int | None) -> None:
  """Raises DataError unless `channels` is 1, 3 or None."""
  if channels not in (None, 1, 3):
    raise DataError(
      f'channels must be 1 (grey), 3 (RGB) or None (as stored); got {channels}.'
    )


def decode_image(
  data: bytes | str | os.PathLike, *, channels: int | None, name: str
) -> np.ndarray:
  """Decodes an image in any still format of Pillow.

  The EXIF orientation is applied, transparent pixels are blended with white, 16
  bits per channel become 8, and palettes and CMYK become RGB. Of a file with
  several images, the first is decoded.

  Args:
    data: the encoded bytes, or the path of a file.
    channels: 1 or 3; None decodes grey images to 1 channel and others to 3.
    name: name of the image in the error.

  Returns:
    uint8 [H, W, C].

  Raises:
    UnreadableImage: if the data is truncated or not an image, or if its
      channels are floats or have 32 bits, so that their range is unknown.
  """
  from PIL import Image
  from PIL import ImageOps

  file = io.BytesIO(data) if isinstance(data, bytes) else data
  try:
    with Image.open(file, formats=_formats()) as opened:
      ImageOps.exif_transpose(opened, in_place=True)
      return pil_to_pixels(opened, channels=channels)
  except Exception as error:  # Pillow's decoders raise half a dozen types
    raise UnreadableImage(name, _reason(data, error)) from error


def pil_to_pixels(image: 'Image.Image', *, channels: int | None) -> np.ndarray:
  """Converts a PIL image of any mode; see `decode_image`.

  Returns:
    uint8 [H, W, C].

  Raises:
    ValueError: if it has floats or 32 bits in a channel.
  """
  image = _flatten(image)
  if channels is not None:
    image = _converted(image, grey=channels == 1)
  pixels = np.array(image)
  return pixels if pixels.ndim == 3 else pixels[..., None]


def _reason(data: bytes | str | os.PathLike, error: Exception) -> str:
  """Returns why a file cannot be decoded as an image."""
  try:
    head = data if isinstance(data, bytes) else file_kinds.read_head(data)
  except OSError as unreadable:
    return unreadable.strerror or str(unreadable)
  other = file_kinds.describe_placeholder(head)
  return f'it is {other}' if other else f'{type(error).__name__}: {error}'


def is_grey(path: str | os.PathLike) -> bool:
  """Returns whether a file is a grey image; only the header is read."""
  from PIL import Image

  try:
    with Image.open(path, formats=_formats()) as opened:
      return opened.mode in GREY_MODES
  except Exception as error:  # as in decode_image
    raise UnreadableImage(os.fspath(path), str(error)) from error


def _flatten(image):
  """Converts a PIL image of any mode to the mode L or RGB."""
  from PIL import Image

  if image.mode == 'F':
    raise ValueError(
      'its pixels are floats, and nothing tells what is white; convert it to 8 '
      'or 16 bits'
    )
  if image.mode.startswith('I'):
    # Pillow clips when it converts 16 bits; 65535 must become 255.
    wide = np.asarray(image).astype(np.int64)
    if wide.min() < 0 or wide.max() > 65535:
      raise ValueError(
        f'its values lie in [{wide.min()}, {wide.max()}], where 8 or 16 bits '
        'are expected; convert it'
      )
    return Image.fromarray(((wide + 128) // 257).clip(0, 255).astype(np.uint8))
  if image.has_transparency_data:
    grey = image.mode in GREY_MODES
    image = image.convert('RGBA')
    white = Image.new('RGBA', image.size, 'white')
    image = Image.alpha_composite(white, image)
    return _converted(image, grey=grey)
  return _converted(image, grey=image.mode in GREY_MODES)


def _converted(image, *, grey: bool):
  mode = 'L' if grey else 'RGB'
  return image if image.mode == mode else image.convert(mode)
