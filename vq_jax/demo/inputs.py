"""Images that a browser sends, checked before they are decoded."""

import base64
import binascii
import dataclasses
import json
import os
import warnings
from typing import Annotated

import numpy as np

from vq_jax.data import decode
from vq_jax.data import pixels
from vq_jax.utils import fields
from vq_jax.utils import images as images_lib

_FORMATS = ('BMP', 'GIF', 'JPEG', 'PNG', 'WEBP')
_Waiting = Annotated[int, fields.Range(least=1, most=10_000)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
  """Limits of what clients may send.

  Attributes:
    max_megabytes: The largest upload, in megabytes (10^6 bytes).
    max_megapixels: The largest number of pixels of an uploaded image, in
      millions.
    max_waiting: The largest number of requests that wait; the page refuses
      further ones.

  Example:
    >>> from vq_jax.demo import inputs
    >>> inputs.Limits(max_megabytes=2).max_bytes
    2000000
  """

  max_megabytes: fields.PositiveFloat = 10.0
  max_megapixels: fields.PositiveFloat = 25.0
  max_waiting: _Waiting = 100

  def __post_init__(self):
    fields.check(self)

  @property
  def max_bytes(self) -> int:
    """The largest upload, in bytes."""
    return int(self.max_megabytes * 1e6)

  @property
  def max_pixels(self) -> int:
    """The largest number of pixels of an uploaded image."""
    return int(self.max_megapixels * 1e6)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Painting:
  """An image of the size of the model, and the part that was painted.

  Attributes:
    image: uint8 [H, W, C].
    mask: bool [H, W], True where it was painted.
  """

  image: np.ndarray
  mask: np.ndarray


def read_upload(path: str | os.PathLike, limits: Limits) -> np.ndarray:
  """Decodes an uploaded image file.

  The number of pixels in the header is checked before any pixel is decoded.

  Args:
    path: the file.
    limits: the limits.

  Returns:
    uint8 [H, W, 3].

  Raises:
    ValueError: if the file is no BMP, GIF, JPEG, PNG or WebP image, or exceeds
      a limit.
  """
  from PIL import Image

  if not os.path.isfile(path):
    raise ValueError('the uploaded file is gone; upload it again.')
  if os.path.getsize(path) > limits.max_bytes:
    raise ValueError(
      f'an image file may have at most {limits.max_megabytes:g} MB.'
    )
  too_large = (
    f'an image may have at most {limits.max_megapixels:g} million pixels'
  )
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore', Image.DecompressionBombWarning)
      with Image.open(path, formats=_FORMATS) as opened:
        width, height = opened.size
  except Image.DecompressionBombError as error:
    raise ValueError(f'{too_large}.') from error
  except Exception as error:  # Pillow's readers raise half a dozen types
    raise ValueError(
      f'the file is not an image of the formats {", ".join(_FORMATS)}.'
    ) from error
  if width * height > limits.max_pixels:
    raise ValueError(f'{too_large}; this one has {width} x {height}.')
  with warnings.catch_warnings():
    warnings.simplefilter('ignore', Image.DecompressionBombWarning)
    return decode.decode_image(path, channels=3, name='the uploaded file')


def fit(image: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
  """Crops the centre of an image to the aspect of a model, and resizes it.

  Args:
    image: uint8 [H, W, 3].
    shape: (H, W, C) of the images of the model, C 1 or 3.

  Returns:
    uint8 of that shape.
  """
  height, width, channels = shape
  tall, wide = image.shape[:2]
  scale = min(tall / height, wide / width)
  rows = min(tall, max(1, round(height * scale)))
  columns = min(wide, max(1, round(width * scale)))
  top, left = (tall - rows) // 2, (wide - columns) // 2
  # The crop comes first: a resized strip of pixels could be of any size.
  image = image[top : top + rows, left : left + columns]
  if channels == 1:
    from PIL import Image

    image = decode.pil_to_pixels(Image.fromarray(image), channels=1)
  return pixels.resize(image, (height, width), 'lanczos')


def encode_painting(image: np.ndarray) -> str:
  """Returns the text that the browser shows as an image to paint on.

  Args:
    image: uint8 [H, W, C].

  Example:
    >>> import numpy as np
    >>> from vq_jax.demo import inputs
    >>> image = np.zeros((2, 3, 1), np.uint8)
    >>> text = inputs.encode_painting(image)
    >>> inputs.decode_painting(text, (2, 3, 1)).mask.any()
    np.False_
  """
  png = base64.b64encode(images_lib.encode_png(image)).decode()
  return json.dumps({'image': png, 'mask': None})


def decode_painting(text: str | None, shape: tuple[int, int, int]) -> Painting:
  """Reads what the browser sends after painting.

  Args:
    text: JSON with the PNG files `image` and `mask`, in base64; the mask is
      transparent where nothing was painted, or null.
    shape: (H, W, C) of the images of the model.

  Raises:
    ValueError: if there is no image, or the text is something else.
  """
  if not text:
    raise ValueError(
      'choose an image first: upload one, take one with the camera, or sample '
      'one.'
    )
  # PNG files of this size are not larger, but for a few bytes.
  limit = 16 * (shape[0] * shape[1] + 1024)
  try:
    if len(text) > limit:
      raise ValueError('too long')
    parts = json.loads(text)
    image = _decode_png(parts['image'], shape)
    mask = np.zeros(shape[:2], bool)
    if parts['mask'] is not None:
      mask = _decode_png(parts['mask'], (*shape[:2], 4))[..., 3] > 0
  except (ValueError, KeyError, TypeError) as error:
    raise ValueError(
      'the painted image cannot be read; choose the image again.'
    ) from error
  return Painting(image=image, mask=mask)


def _decode_png(text: str, shape: tuple[int, int, int]) -> np.ndarray:
  """Decodes a PNG file of exactly this shape: uint8 [H, W, C]."""
  import io

  from PIL import Image

  modes = {1: 'L', 3: 'RGB', 4: 'RGBA'}
  try:
    data = base64.b64decode(text, validate=True)
    with Image.open(io.BytesIO(data), formats=['PNG']) as opened:
      if opened.size != (shape[1], shape[0]):
        raise ValueError('the size is another')
      decoded = np.array(opened.convert(modes[shape[2]]))
  except (OSError, SyntaxError, binascii.Error) as error:
    raise ValueError('no PNG file') from error
  except Image.DecompressionBombError as error:
    raise ValueError('too many pixels') from error
  return decoded.reshape(shape)
