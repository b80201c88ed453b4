"""Pixel ranges, image grids and image files.

Images are NHWC, uint8 in [0, 255] or float in [0, 1]. Only this module converts
between these ranges.
"""

import math
import os
from collections.abc import Sequence
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from vq_jax.utils import fields
from vq_jax.utils import image_encoding
from vq_jax.utils import paths

Array = jax.Array | np.ndarray


def _check_dtype(image: Array) -> None:
  if image.dtype != jnp.uint8 and not jnp.issubdtype(image.dtype, jnp.floating):
    raise TypeError(
      f'images must be uint8 in [0, 255] or float in [0, 1]; got {image.dtype}.'
    )


def to_float(image: Array) -> jax.Array:
  """Converts images to float32 in [0, 1].

  Example:
    >>> to_float(np.array([0, 255], np.uint8)).tolist()
    [0.0, 1.0]

  Args:
    image: uint8 in [0, 255], or float, whose values are not changed.

  Raises:
    TypeError: if the array is neither uint8 nor floating.
  """
  _check_dtype(image)
  if isinstance(image, np.ndarray) and image.dtype == np.uint8:
    # XLA multiplies by 1 / 255, which differs in the last bit of some values.
    return jnp.asarray(image.astype(np.float32) / np.float32(255))
  if image.dtype == jnp.uint8:
    return jnp.asarray(image).astype(jnp.float32) / 255
  return jnp.asarray(image, jnp.float32)


def to_uint8(image: Array) -> np.ndarray:
  """Converts images to uint8 on the host; floats are clipped to [0, 1].

  Example:
    >>> to_uint8(np.array([-0.1, 0.5, 1.0], np.float32)).tolist()
    [0, 128, 255]

  Args:
    image: uint8 in [0, 255], which is returned as it is, or float.

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
  """Checks that float images are in [0, 1].

  Args:
    image: [..., H, W, C], uint8 or float. The values of arrays that JAX traces
      are not checked.
    known: bool [..., H, W], the pixels that are checked; all by default.

  Raises:
    ValueError: if a pixel is out of range or NaN.
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
  """Maps images in [0, 1] linearly to `value_range`."""
  low, high = value_range
  return jnp.asarray(image * (high - low) + low)


def from_range(image: Array, value_range: tuple[float, float]) -> jax.Array:
  """Maps images in `value_range` linearly to [0, 1]."""
  low, high = value_range
  return jnp.asarray((image - low) / (high - low))


@fields.checked
def grid(
  images: Array,
  *,
  columns: fields.PositiveInt | None = None,
  pad: fields.NonNegativeInt = 2,
  scale: fields.PositiveInt = 1,
) -> np.ndarray:
  """Arranges a batch of images in a grid.

  Example:
    >>> grid(np.zeros((4, 8, 8, 1))).shape
    (22, 22, 1)

  Args:
    images: [B, H, W, C] uint8 or float in [0, 1].
    columns: number of images in a row; by default the grid is a square.
    pad: number of white pixels between images.
    scale: factor by which images are enlarged.

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
  """Concatenates batches of which each will be a row of a grid.

  `grid(stack_rows(originals, reconstructions), columns=B)` has an image and its
  reconstruction in each column.

  Args:
    *batches: arrays [B, H, W, C] of one shape.

  Returns:
    uint8 [len(batches) * B, H, W, C].
  """
  return np.concatenate([to_uint8(batch) for batch in batches])


def hstack(images: Sequence[Array], pad: int = 2) -> np.ndarray:
  """Puts images [H, W, C] of any heights side by side on white.

  Args:
    images: the images.
    pad: number of white pixels to the right of each image.

  Returns:
    uint8 [max H, sum of W + pad, C].
  """
  images = [to_uint8(image) for image in images]
  height = max(image.shape[0] for image in images)
  padded = [
    np.pad(
      image,
      ((0, height - image.shape[0]), (0, pad), (0, 0)),
      constant_values=255,
    )
    for image in images
  ]
  return np.concatenate(padded, axis=1)


def check_image_path(
  path: str | os.PathLike, *, channels: int = 3, animated: bool = False
) -> str:
  """Checks, before a long computation, that an image file can be written.

  Args:
    path: the file; its suffix selects the format, such as .png or .jpg.
    channels: number of channels of the image, 1 or 3.
    animated: whether the file is an animation.

  Returns:
    The name of the format in Pillow.

  Raises:
    ValueError: if Pillow cannot write such images in the format of the suffix;
      the message lists the valid suffixes.
    OSError: if the path is a folder, or its folder cannot be created.
  """
  from PIL import Image  # not needed to train or to sample

  path = paths.check_file(path)
  suffixes = Image.registered_extensions()  # loads all plugins
  kind = suffixes.get(path.suffix.lower())
  if kind is None or not image_encoding.can_write(kind, channels, animated):
    kinds = {
      k: image_encoding.can_write(k, channels, animated)
      for k in suffixes.values()
    }
    valid = sorted(suffix for suffix, k in suffixes.items() if kinds[k])
    what = 'an animation' if animated else 'an image'
    raise ValueError(
      f'{what} cannot be written as {path.name!r}: the suffix must be that of '
      f'a format that can hold it, such as {".gif" if animated else ".png"}. '
      f'Valid: {" ".join(valid)}.'
    )
  return kind


def encode_png(image: Array, *, comment: str | None = None) -> bytes:
  """Encodes an image as PNG.

  Args:
    image: [H, W, C] with 1, 3 or 4 channels.
    comment: text of the metadata field `Comment`.
  """
  return image_encoding.encode(to_uint8(image)[None], 'PNG', comment=comment)


def save_image(
  path: str | os.PathLike, image: Array, *, comment: str | None = None
) -> None:
  """Writes an image file atomically; see `check_image_path` for the errors.

  Args:
    path: the file; its suffix selects the format, such as .png or .jpg.
    image: [H, W, C] uint8, or float in [0, 1].
    comment: text of the metadata of a PNG, JPEG or GIF file.
  """
  image = to_uint8(image)
  kind = check_image_path(path, channels=image.shape[-1])
  paths.write_bytes(
    path, image_encoding.encode(image[None], kind, comment=comment)
  )


@fields.checked
def save_animation(
  path: str | os.PathLike,
  frames: Array,
  *,
  milliseconds: Annotated[int, fields.Range(least=1, most=60_000)] = 250,
) -> None:
  """Writes an animation in a loop; its last frame is shown eight times as long.

  Args:
    path: the file; its suffix selects the format, such as .gif or .webp.
    frames: [T, H, W, C] with 1 or 3 channels.
    milliseconds: duration of a frame.
  """
  frames = to_uint8(frames)
  kind = check_image_path(path, channels=frames.shape[-1], animated=True)
  paths.write_bytes(
    path, image_encoding.encode(frames, kind, milliseconds=milliseconds)
  )


def count(number: int) -> str:
  """Returns a number of images in words: '1 image', '2 images'."""
  return f'{number} image{"" if number == 1 else "s"}'
