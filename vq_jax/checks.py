"""Checks of what a user asks of a run."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vq_jax import autoencoders


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
