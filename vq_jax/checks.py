"""Checks of what a user asks of a run."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Annotated
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vq_jax import autoencoders
from vq_jax.utils import fields
from vq_jax.utils import images as images_lib

_Images = Annotated[int, fields.Range(least=1, most=2**24)]

_Pixels = Annotated[int, fields.Range(least=0, most=2**14)]

_CHANNELS = {1: 'grey values alone', 3: 'red, green and blue alone'}


def checked_num(num: int, name: str = 'num') -> int:
  """Returns a number of images.

  Raises:
    ValueError: unless it is a whole number of at least 1, and no more than are
      told apart by their keys.
  """
  return fields.check_value(name, num, _Images)


def checked_indices(
  indices: jax.Array | np.ndarray, grid: autoencoders.TokenGrid
) -> jax.Array:
  """Returns indices as int32 [B, h, w, *index_shape] on the device.

  Raises:
    ValueError: if they are not that, or one of them is no code.
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


def checked_parts(
  indices: Any, grids: Sequence[autoencoders.TokenGrid]
) -> tuple[jax.Array, ...]:
  """Returns the indices of each grid, coarsest first; see `checked_indices`.

  Raises:
    ValueError: if they are not one for each grid, or one does not fit its.
  """
  parts = indices if isinstance(indices, tuple | list) else (indices,)
  if len(parts) != len(grids):
    raise ValueError(
      f'this autoencoder has {len(grids)} grid(s) of codes, coarsest first; '
      f'got {len(parts)}.'
    )
  return tuple(map(checked_indices, parts, grids))


def checked_levels(
  indices: Any, known: Any, grids: Sequence[autoencoders.TokenGrid]
) -> list[tuple[jax.Array, np.ndarray]]:
  """Returns the indices of each grid, 0 where not known, and where they are.

  Raises:
    ValueError: if known is not bool of the shape of the indices, or a known
      index is no code.
  """
  several = isinstance(indices, tuple | list)
  parts = [np.asarray(part) for part in (indices if several else [indices])]
  masks = known if isinstance(known, tuple | list) else [known]
  masks = [np.asarray(mask) for mask in masks]
  if [x.shape for x in parts] != [x.shape for x in masks] or any(
    mask.dtype != bool for mask in masks
  ):
    raise ValueError(
      'known must be bool of the shape of the indices, '
      f'{", ".join(str(part.shape) for part in parts)}; got '
      f'{", ".join(f"{mask.dtype} {mask.shape}" for mask in masks)}.'
    )
  filled = [
    np.where(m, x, x.dtype.type(0)) for x, m in zip(parts, masks, strict=True)
  ]
  return list(zip(checked_parts(filled, grids), masks, strict=True))


def require_all_levels(card: Mapping[str, Any], autoencoder: nn.Module) -> None:
  """Raises ValueError unless a prior's card is that of the finest level."""
  level, levels = card.get('level', 0), len(autoencoder.token_grids)
  if level + 1 < levels:
    raise ValueError(
      f'this run is the prior of level {level} of {levels}, and an image needs '
      f'all levels. Train the next with --config.level={level + 1} '
      '--config.coarser=<this run>, and generate with the last.'
    )


def require_codes(autoencoder: nn.Module) -> None:
  """Raises ValueError unless an autoencoder has codes."""
  if not autoencoder.token_grids:
    raise ValueError(
      'this autoencoder has no codes; use vq_jax.latent_space for its latents.'
    )


def check_images(
  images: Any, channels: int, *, ranks: Sequence[int] = (4,)
) -> None:
  """Checks images that a user gives: their shape, dtype and range.

  Args:
    images: [B, H, W, C], uint8 in [0, 255] or float in [0, 1].
    channels: C.
    ranks: how many axes they may have; with 3 a single image is one, too.

  Raises:
    ValueError: if the shape is another, or a float lies outside [0, 1].
    TypeError: if the array is neither uint8 nor floating.
  """
  check_image_shape(images, channels, ranks=ranks)
  traced = isinstance(images, jax.Array)
  images_lib.check_range(images if traced else np.asarray(images))


def check_image_shape(
  images: Any, channels: int, *, ranks: Sequence[int] = (4,)
) -> None:
  """Checks the shape of images alone; see `check_images`."""
  try:
    shape = np.shape(images)
  except ValueError as error:  # a list of different ones
    raise ValueError(
      'images must be one array, so all of one shape; got a '
      f'{type(images).__name__} of several.'
    ) from error
  if len(shape) not in ranks or shape[-1] != channels or 0 in shape:
    wanted = [f'[B, H, W, {channels}]', f'[H, W, {channels}]']
    raise ValueError(
      f'images must be {" or ".join(wanted[: len(ranks)])}, with '
      f'{_CHANNELS.get(channels, "the channels of the run")}; got {shape}.'
    )


def checked_pictures(image: Any, channels: int) -> np.ndarray:
  """Returns one picture or a batch as float32 [B, H, W, C].

  Their range is left to be checked where they are kept.

  Args:
    image: [H, W, C] or [B, H, W, C], uint8 or float.
    channels: C.

  Raises:
    ValueError: if the shape is another.
    TypeError: if the array is neither uint8 nor floating.
  """
  check_image_shape(image, channels, ranks=(4, 3))
  pictures = np.asarray(images_lib.to_float(np.asarray(image)))
  return pictures if pictures.ndim == 4 else pictures[None]


def checked_mask(mask: Any, shape: Sequence[int]) -> np.ndarray:
  """Returns a mask as bool [B, H, W].

  Args:
    mask: bool [H, W] or [B, H, W].
    shape: of the pictures, [H, W] or [B, H, W].

  Raises:
    ValueError: if it is another.
  """
  mask, shape = np.asarray(mask), tuple(shape)
  if mask.dtype != bool or mask.shape not in (shape, shape[-2:]):
    raise ValueError(
      f'mask must be bool {_either(shape)}, True where the image is redrawn; '
      f'got {mask.dtype} {mask.shape}.'
    )
  return np.broadcast_to(mask, shape if len(shape) == 3 else (1, *shape))


def _either(shape):
  return ' or '.join(str(list(s)) for s in dict.fromkeys((shape[-2:], shape)))


def checked_sides(sides: Sequence[int]) -> tuple[int, ...]:
  """Returns the pixels to be drawn beyond (top, bottom, left, right).

  Raises:
    ValueError: unless they are whole numbers, at least 0, and one is more.
  """
  names = ('top', 'bottom', 'left', 'right')
  checked = tuple(
    fields.check_value(name, side, _Pixels)
    for name, side in zip(names, sides, strict=True)
  )
  if not any(checked):
    raise ValueError(
      'top, bottom, left and right must be pixels to be drawn, not all 0.'
    )
  return checked
