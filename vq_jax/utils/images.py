"""The one place that knows pixel ranges; grids and image files.

Images are NHWC, uint8 in [0, 255] or float in [0, 1].
"""

import io
import math
import os
import warnings
from collections.abc import Sequence
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from vq_jax.utils import fields
from vq_jax.utils import paths

Array = jax.Array | np.ndarray

_ICONS = ('ICNS', 'ICO')  # they hold a few sizes, and shrink all others


def _check_dtype(image: Array) -> None:
  if image.dtype != jnp.uint8 and not jnp.issubdtype(image.dtype, jnp.floating):
    raise TypeError(
      f'images must be uint8 in [0, 255] or float in [0, 1]; got {image.dtype}.'
    )


def to_float(image: Array) -> jax.Array:
  """Maps uint8 in [0, 255] to float32 in [0, 1]; a float array passes.

  Raises:
    TypeError: if the array is neither uint8 nor floating.
  """
  _check_dtype(image)
  if isinstance(image, np.ndarray) and image.dtype == np.uint8:
    # XLA would multiply by 1 / 255, which is now and then a bit off.
    return jnp.asarray(image.astype(np.float32) / np.float32(255))
  if image.dtype == jnp.uint8:
    return image.astype(jnp.float32) / 255
  return jnp.asarray(image, jnp.float32)


def to_uint8(image: Array) -> np.ndarray:
  """Clips a float image to [0, 1] and rounds it to uint8 on the host.

  Raises:
    ValueError: if a pixel is NaN.
    TypeError: if the array is neither uint8 nor floating.
  """
  _check_dtype(image)
  if image.dtype == np.uint8:
    return np.asarray(image)
  image = np.asarray(image, np.float32)
  if np.isnan(image).any():
    raise ValueError(
      'an image has pixels that are NaN. The weights that made it are damaged, '
      'or their training diverged.'
    )
  image = np.clip(image, 0, 1)
  return np.round(image * 255).astype(np.uint8)


def check_range(image: Array, known: np.ndarray | None = None) -> None:
  """Checks that float images lie in [0, 1].

  Args:
    image: [..., H, W, C], uint8 or float. What is traced by JAX has no values
      yet and passes.
    known: bool [..., H, W], the pixels that count; all by default.

  Raises:
    ValueError: if a pixel lies outside, or is NaN.
    TypeError: if the array is neither uint8 nor floating.
  """
  _check_dtype(image)
  if isinstance(image, jax.core.Tracer) or image.dtype == np.uint8:
    return
  pixels = np.asarray(image, np.float32)
  pixels = pixels if known is None else pixels[known]
  if pixels.size and not (pixels.min() >= 0 and pixels.max() <= 1):
    raise ValueError(
      f'float images must lie in [0, 1]; got {pixels.min():g} to '
      f'{pixels.max():g}. Divide by 255, clip, or give uint8.'
    )


def to_range(image: Array, value_range: tuple[float, float]) -> jax.Array:
  """Maps [0, 1] linearly to `value_range`, the range a network wants."""
  low, high = value_range
  return image * (high - low) + low


def from_range(image: Array, value_range: tuple[float, float]) -> jax.Array:
  """Undoes `to_range`."""
  low, high = value_range
  return (image - low) / (high - low)


@fields.checked
def grid(
  images: Array,
  *,
  columns: fields.PositiveInt | None = None,
  pad: fields.NonNegativeInt = 2,
  scale: fields.PositiveInt = 1,
) -> np.ndarray:
  """Lays a batch out as one picture.

  Args:
    images: [B, H, W, C] uint8 or float in [0, 1].
    columns: images in a row; the smallest square that holds all by default.
    pad: white pixels between images.
    scale: each pixel becomes `scale` x `scale`, for small images.

  Returns:
    uint8 [height, width, C].
  """
  images = to_uint8(images).repeat(scale, axis=1).repeat(scale, axis=2)
  b, h, w, c = images.shape
  columns = columns or math.ceil(math.sqrt(b))
  rows = math.ceil(b / columns)
  canvas = np.full(
    (rows * (h + pad) + pad, columns * (w + pad) + pad, c), 255, np.uint8
  )
  for i, image in enumerate(images):
    top = pad + i // columns * (h + pad)
    left = pad + i % columns * (w + pad)
    canvas[top : top + h, left : left + w] = image
  return canvas


def stack_rows(*batches: Array) -> np.ndarray:
  """Interleaves batches, so that a grid shows the same example in a column.

  Args:
    *batches: arrays [B, H, W, C] of one shape, e.g. originals and
      reconstructions.

  Returns:
    uint8 [len(batches) * B, H, W, C]; with `columns=B` each batch is a row.
  """
  return np.concatenate([to_uint8(batch) for batch in batches])


def hstack(pictures: Sequence[Array], pad: int = 2) -> np.ndarray:
  """Puts pictures [H, W, C] of any heights side by side, on white."""
  pictures = [to_uint8(picture) for picture in pictures]
  height = max(picture.shape[0] for picture in pictures)
  padded = [
    np.pad(
      picture,
      ((0, height - picture.shape[0]), (0, pad), (0, 0)),
      constant_values=255,
    )
    for picture in pictures
  ]
  return np.concatenate(padded, axis=1)


def check_image_path(
  path: str | os.PathLike, *, channels: int = 3, animated: bool = False
) -> str:
  """Checks, before long work, that an image can be written to a file.

  Args:
    path: of the file; its suffix says the format, such as .png or .jpg.
    channels: of the image, 1 or 3.
    animated: whether it is a moving picture.

  Returns:
    the format, as Pillow calls it.

  Raises:
    ValueError: if the suffix is none that Pillow can write, or not for such an
      image; the message lists those that it can.
    OSError: if the path is a folder, or lies in a file.
  """
  from PIL import Image  # not needed to train or to sample

  path = paths.check_file(path)
  suffixes = Image.registered_extensions()  # loads all plugins
  kind = suffixes.get(path.suffix.lower())
  if kind is None or not _can_write(kind, channels, animated):
    kinds = {k: _can_write(k, channels, animated) for k in suffixes.values()}
    valid = sorted(suffix for suffix, k in suffixes.items() if kinds[k])
    what = 'a moving picture' if animated else 'an image'
    raise ValueError(
      f'{what} cannot be written as {path.name!r}: the suffix must be that of '
      f'a format that can hold it, such as {".gif" if animated else ".png"}. '
      f'Valid: {" ".join(valid)}.'
    )
  return kind


def _can_write(kind: str, channels: int, animated: bool) -> bool:
  """Returns whether Pillow can write such images, by writing a small one."""
  from PIL import Image

  table = Image.SAVE_ALL if animated else Image.SAVE
  if kind not in table or kind in _ICONS:
    return False
  frames = np.zeros((1 + animated, 32, 32, channels), np.uint8)
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')  # of formats that are going
      _encode(frames, kind)
  except (OSError, ValueError, KeyError):
    return False
  return True


def _encode(
  frames: np.ndarray,
  kind: str,
  *,
  comment: str | None = None,
  milliseconds: int = 250,
) -> bytes:
  """Encodes images uint8 [T, H, W, C] with C of 1, 3 or 4 as one file."""
  from PIL import Image  # not needed to train or to sample
  from PIL import PngImagePlugin

  if frames.shape[-1] == 1:
    frames = frames[..., 0]
  first, *rest = [Image.fromarray(frame) for frame in frames]
  options: dict[str, object] = {}
  if kind == 'JPEG':
    options |= {'quality': 95, 'subsampling': 0}
  if kind in ('WEBP', 'AVIF'):
    options |= {'quality': 95}
  if comment is not None and kind == 'PNG':
    texts = PngImagePlugin.PngInfo()
    texts.add_text('Comment', comment)
    options['pnginfo'] = texts
  elif comment is not None and kind in ('JPEG', 'GIF'):
    options['comment'] = comment.encode()
  if rest:
    options |= {
      'save_all': True,
      'append_images': rest,
      'duration': [milliseconds] * len(rest) + [8 * milliseconds],
      'loop': 0,
    }
  buffer = io.BytesIO()
  first.save(buffer, kind, **options)
  return buffer.getvalue()


def encode_png(image: Array, *, comment: str | None = None) -> bytes:
  """Encodes one image [H, W, C] with C of 1, 3 or 4.

  Args:
    image: the image.
    comment: a text that the file holds beside it, as `Comment`.
  """
  return _encode(to_uint8(image)[None], 'PNG', comment=comment)


def save_image(
  path: str | os.PathLike, image: Array, *, comment: str | None = None
) -> None:
  """Writes one image [H, W, C] in the format that the suffix says.

  A reader never sees half a file. See `check_image_path` for the errors.

  Args:
    path: the file, such as samples.png or samples.jpg.
    image: uint8, or float in [0, 1].
    comment: a text that a PNG, JPEG or GIF file holds beside the image.
  """
  image = to_uint8(image)
  kind = check_image_path(path, channels=image.shape[-1])
  paths.write_bytes(path, _encode(image[None], kind, comment=comment))


@fields.checked
def save_animation(
  path: str | os.PathLike,
  frames: Array,
  *,
  milliseconds: Annotated[int, fields.Range(least=1, most=60_000)] = 250,
) -> None:
  """Writes a moving picture that repeats; the last frame stays longer.

  Args:
    path: the file; its suffix says the format, such as .gif or .webp.
    frames: [T, H, W, C] with C of 1 or 3.
    milliseconds: how long a frame is seen.
  """
  frames = to_uint8(frames)
  kind = check_image_path(path, channels=frames.shape[-1], animated=True)
  paths.write_bytes(path, _encode(frames, kind, milliseconds=milliseconds))
