"""Checks of the arguments of a model, with errors that say what must hold."""

from collections.abc import Sequence
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from vq_jax import autoencoders
from vq_jax.inference.types import Array
from vq_jax.inference.types import Indices
from vq_jax.utils import fields
from vq_jax.utils import images as images_lib

_Images = Annotated[int, fields.Range(least=1, most=2**24)]

_Pixels = Annotated[int, fields.Range(least=0, most=2**14)]

_CHANNELS = {1: 'one grey channel', 3: 'channels red, green and blue'}


def check_num(num: int, name: str = 'num') -> int:
  """Checks a number of images.

  Args:
    num: the number.
    name: the name of the argument, for the error.

  Returns:
    the number, as an int of Python.

  Raises:
    ValueError: unless it is a whole number in [1, 2^24].
  """
  return fields.check_value(name, num, _Images)


def check_indices(indices: Array, grid: autoencoders.TokenGrid) -> jax.Array:
  """Checks the indices of one token grid.

  Args:
    indices: integers [B, h, w, *index_shape].
    grid: the token grid.

  Returns:
    the indices as int32 on the device.

  Raises:
    ValueError: if the shape or dtype is wrong, or an index is not in the
      codebook.
  """
  indices = np.asarray(indices)
  own = grid.index_shape
  fits = indices.ndim == 3 + len(own) and indices.shape[3:] == own
  if not fits or not np.issubdtype(indices.dtype, np.integer):
    wanted = ', '.join(['B', 'h', 'w', *map(str, own)])
    raise ValueError(
      f'indices must be integers [{wanted}]; got '
      f'{indices.dtype} {indices.shape}.'
    )
  size = grid.codebook_size
  if indices.size and not 0 <= indices.min() <= indices.max() < size:
    raise ValueError(
      f'indices must lie in [0, {size}); got values from {indices.min()} to '
      f'{indices.max()}. Tokens that are still masked cannot be decoded.'
    )
  return jnp.asarray(indices, jnp.int32)


def check_parts(
  indices: Indices, grids: Sequence[autoencoders.TokenGrid]
) -> tuple[jax.Array, ...]:
  """Checks the indices of all token grids; see `check_indices`.

  Args:
    indices: an array, or a sequence of one array for each grid.
    grids: the token grids, the parent level first.

  Returns:
    the indices of each grid.

  Raises:
    ValueError: if their number is not that of the grids, or one does not fit.
  """
  parts = indices if isinstance(indices, tuple | list) else (indices,)
  if len(parts) != len(grids):
    raise ValueError(
      f'this autoencoder has {len(grids)} token grid(s), the parent level '
      f'first; got {len(parts)}.'
    )
  return tuple(map(check_indices, parts, grids))


def check_levels(
  indices: Indices, known: Indices, grids: Sequence[autoencoders.TokenGrid]
) -> list[tuple[jax.Array, np.ndarray]]:
  """Checks indices of which some are known.

  Args:
    indices: as for `check_parts`; values are ignored where they are not known.
    known: bool of the shape of the indices.
    grids: the token grids, the parent level first.

  Returns:
    for each grid the indices, 0 where they are not known, and the bool mask.

  Raises:
    ValueError: if the shapes do not fit, or a known index is not in the
      codebook.
  """
  several = isinstance(indices, tuple | list)
  parts = [np.asarray(part) for part in (indices if several else [indices])]
  given = known if isinstance(known, tuple | list) else [known]
  masks = [np.asarray(mask) for mask in given]
  if [x.shape for x in parts] != [x.shape for x in masks] or any(
    mask.dtype != bool for mask in masks
  ):
    raise ValueError(
      'known must be bool of the shape of the indices, '
      f'{", ".join(str(part.shape) for part in parts)}; got '
      f'{", ".join(f"{mask.dtype} {mask.shape}" for mask in masks)}.'
    )
  filled = tuple(
    np.where(m, x, x.dtype.type(0)) for x, m in zip(parts, masks, strict=True)
  )
  return list(zip(check_parts(filled, grids), masks, strict=True))


def check_images(
  images: Array, channels: int, *, ranks: Sequence[int] = (4,)
) -> None:
  """Checks the shape, the dtype and the range of images.

  Args:
    images: [B, H, W, C], uint8 in [0, 255] or float in [0, 1].
    channels: C.
    ranks: the numbers of axes that are allowed; 3 allows a single image.

  Raises:
    ValueError: if the shape is wrong, or a float lies outside [0, 1].
    TypeError: if the array is neither uint8 nor floating.
  """
  check_image_shape(images, channels, ranks=ranks)
  traced = isinstance(images, jax.Array)
  images_lib.check_range(images if traced else np.asarray(images))


def check_image_shape(
  images: Array, channels: int, *, ranks: Sequence[int] = (4,)
) -> None:
  """Checks only the shape of images; see `check_images`."""
  try:
    shape = np.shape(images)
  except ValueError as error:  # a list of different shapes
    raise ValueError(
      'images must be one array, so all of one shape; got a '
      f'{type(images).__name__} of several.'
    ) from error
  if len(shape) not in ranks or shape[-1] != channels or 0 in shape:
    wanted = [f'[B, H, W, {channels}]', f'[H, W, {channels}]']
    raise ValueError(
      f'images must be {" or ".join(wanted[: len(ranks)])}, with '
      f'{_CHANNELS.get(channels, f"{channels} channels")}; got {shape}.'
    )


def to_float_batch(image: Array, channels: int) -> np.ndarray:
  """Checks one image or a batch, but not the range of float images.

  Args:
    image: [H, W, C] or [B, H, W, C], uint8 or float.
    channels: C.

  Returns:
    float32 [B, H, W, C].

  Raises:
    ValueError: if the shape is another.
    TypeError: if the array is neither uint8 nor floating.
  """
  check_image_shape(image, channels, ranks=(4, 3))
  images = np.asarray(images_lib.to_float(np.asarray(image)))
  return images if images.ndim == 4 else images[None]


def check_mask(mask: Array, shape: Sequence[int]) -> np.ndarray:
  """Checks a mask of pixels.

  Args:
    mask: bool [H, W] or [B, H, W].
    shape: (H, W) or (B, H, W) of the images.

  Returns:
    bool [B, H, W].

  Raises:
    ValueError: if the shape or dtype is wrong.
  """
  mask, shape = np.asarray(mask), tuple(shape)
  if mask.dtype != bool or mask.shape not in (shape, shape[-2:]):
    raise ValueError(
      f'mask must be bool {_either(shape)}, True where the image is sampled '
      f'anew; got {mask.dtype} {mask.shape}.'
    )
  return np.broadcast_to(mask, shape if len(shape) == 3 else (1, *shape))


def _either(shape):
  return ' or '.join(str(list(s)) for s in dict.fromkeys((shape[-2:], shape)))


def check_sides(sides: Sequence[int]) -> tuple[int, ...]:
  """Checks the numbers of pixels to add at (top, bottom, left, right).

  Returns:
    the numbers, as ints of Python.

  Raises:
    ValueError: unless they are whole numbers of at least 0, not all of them 0.
  """
  names = ('top', 'bottom', 'left', 'right')
  checked = tuple(
    fields.check_value(name, side, _Pixels)
    for name, side in zip(names, sides, strict=True)
  )
  if not any(checked):
    raise ValueError(
      'top, bottom, left and right must be numbers of pixels, not all 0.'
    )
  return checked
