"""Checks of what a user asks of a run."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vq_jax import autoencoders
from vq_jax.utils import images as images_lib

_CHANNELS = {1: 'grey values alone', 3: 'red, green and blue alone'}


def class_labels(
  labels: jax.Array | np.ndarray | int | None, num: int | None, classes: int
) -> tuple[np.ndarray | None, int]:
  """Returns one class per image, int32 [num] or None, and their number.

  Args:
    labels: one class per image, or one for all; by default the classes follow
      one another.
    num: how many images, if `labels` does not say; 16 by default.
    classes: how many there are; 0 for a prior without.

  Raises:
    ValueError: if the labels do not fit.
  """
  if labels is None:
    num = 16 if num is None else num
    labels = np.arange(num) % classes if classes else None
  else:
    labels = np.asarray(labels, np.int32)
    if labels.ndim == 0:
      labels = np.full(1 if num is None else num, labels)
    num = len(labels) if num is None else num
  checked_num(num)
  if labels is None:
    return None, num
  if not classes:
    raise ValueError('this prior knows no classes; leave labels out.')
  if labels.shape != (num,):
    raise ValueError(
      f'labels must be one class per image, [{num}]; got {labels.shape}.'
    )
  if labels.min() < 0 or labels.max() >= classes:
    raise ValueError(
      f'labels must lie in [0, {classes}); got {labels.min()} to '
      f'{labels.max()}.'
    )
  return labels.astype(np.int32), num


def checked_num(num: int, name: str = 'num') -> int:
  """Returns a number of images; raises ValueError unless it is positive."""
  if num < 1:
    raise ValueError(f'{name} must be at least 1; got {num}.')
  return num


def checked_indices(
  indices: jax.Array | np.ndarray, grid: autoencoders.CodeGrid
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
  indices: Any, grids: Sequence[autoencoders.CodeGrid]
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
  indices: Any, known: Any, grids: Sequence[autoencoders.CodeGrid]
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


def check_channels(
  images: jax.Array | np.ndarray, image_shape: Sequence[int]
) -> None:
  """Raises ValueError unless images are a batch of those channels."""
  channels = image_shape[-1]
  if images.ndim != 4 or images.shape[-1] != channels:
    raise ValueError(
      f'images must be [B, H, W, {channels}]; got {images.shape}.'
    )


def require_all_levels(card: Mapping[str, Any], autoencoder: nn.Module) -> None:
  """Raises ValueError unless a prior's card is that of the finest level."""
  level, levels = card.get('level', 0), len(autoencoder.code_grids)
  if level + 1 < levels:
    raise ValueError(
      f'this run is the prior of level {level} of {levels}, and an image needs '
      f'all levels. Train the next with --config.level={level + 1} '
      '--config.coarser=<this run>, and generate with the last.'
    )


def require_codes(autoencoder: nn.Module) -> None:
  """Raises ValueError unless an autoencoder has codes."""
  if not autoencoder.code_grids:
    raise ValueError(
      'this autoencoder has no codes; use vq_jax.latent_space for its latents.'
    )


def checked_pictures(image: Any, channels: int) -> np.ndarray:
  """Returns one picture or a batch as float32 [B, H, W, C].

  Args:
    image: [H, W, C] or [B, H, W, C], uint8 or float.
    channels: C.

  Raises:
    ValueError: if the shape is another.
    TypeError: if the array is neither uint8 nor floating.
  """
  shape = np.shape(image)
  if len(shape) not in (3, 4) or shape[-1] != channels or 0 in shape:
    raise ValueError(
      f'image must be [H, W, {channels}] or [B, H, W, {channels}], with '
      f'{_CHANNELS.get(channels, "the channels of the run")}; got {shape}.'
    )
  pictures = np.asarray(images_lib.to_float(np.asarray(image)))
  return pictures if len(shape) == 4 else pictures[None]


def check_range(pictures: np.ndarray, known: np.ndarray) -> None:
  """Raises ValueError unless the known pixels lie in [0, 1].

  Args:
    pictures: float32 [B, H, W, C].
    known: bool [B, H, W].
  """
  kept = pictures[known]
  if kept.size and not (kept.min() >= 0 and kept.max() <= 1):
    raise ValueError(
      'a float image must lie in [0, 1] where it is kept; got '
      f'{kept.min()} to {kept.max()}. Divide by 255, or give uint8.'
    )


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


def check_sides(sides: Sequence[int]) -> None:
  """Raises ValueError unless there is something to draw beyond a side."""
  whole = all(isinstance(side, int | np.integer) for side in sides)
  if not whole or min(sides) < 0 or not any(sides):
    raise ValueError(
      'top, bottom, left and right must be pixels, at least 0 and not all 0; '
      f'got {", ".join(map(str, sides))}.'
    )


def edit_labels(label: Any, num: int, model: Any) -> np.ndarray | None:
  """Returns one class per picture, int32 [num], or None without classes.

  Args:
    label: one for all, int [num], or None: the null class.
    num: how many pictures.
    model: a `vq_jax.Model` with a prior.

  Raises:
    ValueError: if the label does not fit, or there is none and no null class.
  """
  classes = model.vocab.num_classes
  if label is not None or not classes:
    return class_labels(label, num, classes)[0]
  levels = [model]
  while levels[-1].coarser is not None:
    levels.append(levels[-1].coarser)
  if not all(level.vocab.null_class for level in levels):
    raise ValueError(
      f'this prior has {classes} classes and no null class, so it must be told '
      'what it draws; give a label.'
    )
  return np.full(num, model.vocab.null_label, np.int32)
