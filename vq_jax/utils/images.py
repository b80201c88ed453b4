"""The one place that knows pixel ranges; grids and PNG files.

Images are NHWC, uint8 in [0, 255] or float in [0, 1].
"""

import io
import math
import os
import pathlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array | np.ndarray


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
    TypeError: if the array is neither uint8 nor floating.
  """
  _check_dtype(image)
  if image.dtype == np.uint8:
    return np.asarray(image)
  image = np.clip(np.asarray(image, np.float32), 0, 1)
  return np.round(image * 255).astype(np.uint8)


def to_range(image: Array, value_range: tuple[float, float]) -> jax.Array:
  """Maps [0, 1] linearly to `value_range`, the range a network wants."""
  low, high = value_range
  return image * (high - low) + low


def from_range(image: Array, value_range: tuple[float, float]) -> jax.Array:
  """Undoes `to_range`."""
  low, high = value_range
  return (image - low) / (high - low)


def grid(
  images: Array, *, columns: int | None = None, pad: int = 2, scale: int = 1
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


def side_by_side(*batches: Array) -> np.ndarray:
  """Interleaves batches, so that a grid shows the same example in a column.

  Args:
    *batches: arrays [B, H, W, C] of one shape, e.g. originals and
      reconstructions.

  Returns:
    uint8 [len(batches) * B, H, W, C]; with `columns=B` each batch is a row.
  """
  return np.concatenate([to_uint8(batch) for batch in batches])


def beside(pictures: Sequence[Array], pad: int = 2) -> np.ndarray:
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


def encode_png(image: Array, *, comment: str | None = None) -> bytes:
  """Encodes one image [H, W, C] with C of 1, 3 or 4.

  Args:
    image: the image.
    comment: a text that the file holds beside it, as `Comment`.
  """
  from PIL import Image  # not needed to train or to sample
  from PIL import PngImagePlugin

  pixels = to_uint8(image)
  if pixels.shape[-1] == 1:
    pixels = pixels[..., 0]
  buffer = io.BytesIO()
  texts = PngImagePlugin.PngInfo()
  if comment is not None:
    texts.add_text('Comment', comment)
  Image.fromarray(pixels).save(buffer, 'PNG', pnginfo=texts)
  return buffer.getvalue()


def save_png(
  path: str | os.PathLike, image: Array, *, comment: str | None = None
) -> None:
  """Writes one image; a reader never sees half a file. See `encode_png`."""
  _write(path, encode_png(image, comment=comment))


def save_gif(
  path: str | os.PathLike, frames: Array, *, milliseconds: int = 250
) -> None:
  """Writes a moving picture that repeats; the last frame stays longer.

  Args:
    path: the file.
    frames: [T, H, W, C] with C of 1 or 3.
    milliseconds: how long a frame is seen.
  """
  from PIL import Image  # not needed to train or to sample

  frames = to_uint8(frames)
  if frames.shape[-1] == 1:
    frames = frames[..., 0]
  first, *rest = [Image.fromarray(frame) for frame in frames]
  buffer = io.BytesIO()
  first.save(
    buffer,
    'GIF',
    save_all=True,
    append_images=rest,
    duration=[milliseconds] * len(rest) + [8 * milliseconds],
    loop=0,
  )
  _write(path, buffer.getvalue())


def _write(path: str | os.PathLike, content: bytes) -> None:
  """Writes a file; a reader never sees half of it."""
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f'.{path.name}.{os.getpid()}')
  temporary.write_bytes(content)
  temporary.replace(path)
