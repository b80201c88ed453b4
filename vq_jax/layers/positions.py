"""Fixed and rotary position embeddings of grids."""

import jax
import jax.numpy as jnp
import numpy as np


def sincos_2d(grid: tuple[int, int], width: int) -> np.ndarray:
  """Returns the fixed 2D position embedding of ViT-VQGAN's released code.

  The first half of a vector depends on the column, the second on the row. A
  half is sin(p / 10000^(i / m)) for i = 0 ... m - 1 with m = width / 4,
  followed by the cosines.

  Args:
    grid: (h, w).
    width: D, a multiple of 4.

  Returns:
    float32 [h * w, D], in raster order.

  Raises:
    ValueError: if the width is not a multiple of 4.
  """
  if width < 4 or width % 4:
    raise ValueError(
      'width must be a multiple of 4, for sines and cosines of rows and '
      f'columns; got {width}.'
    )
  frequencies = 10000.0 ** -(np.arange(width // 4) / (width // 4))
  rows, columns = np.indices(grid).reshape(2, -1, 1)
  angles = [index * frequencies[None] for index in (columns, rows)]
  waves = [wave(angle) for angle in angles for wave in (np.sin, np.cos)]
  return np.concatenate(waves, axis=-1).astype(np.float32)


def rope_2d(grid: tuple[int, int], head_dim: int) -> np.ndarray:
  """Returns the angles of 2D rotary position embeddings.

  Half of the pairs of a head are rotated by the row, half by the column: pair i
  of m by p / 10000^(i / m). LlamaGen, Sun et al. 2024, section 3.2
  (https://arxiv.org/abs/2406.06525).

  Args:
    grid: (h, w).
    head_dim: width of a head, a multiple of 4.

  Returns:
    float32 [h * w, head_dim / 2], in raster order; see `rotate`.

  Raises:
    ValueError: if head_dim is not a multiple of 4.
  """
  if head_dim < 4 or head_dim % 4:
    raise ValueError(
      'rotary positions rotate pairs by row and by column, so the width of a '
      f'head must be a multiple of 4; got {head_dim}.'
    )
  frequencies = 10000.0 ** -(np.arange(head_dim // 4) / (head_dim // 4))
  rows, columns = np.indices(grid).reshape(2, -1, 1)
  angles = [index * frequencies[None] for index in (rows, columns)]
  return np.concatenate(angles, axis=-1).astype(np.float32)


def rotate(x: jax.Array, angles: jax.Array) -> jax.Array:
  """Rotates the pairs of components i and i + D / 2 by angles.

  The inner product of two rotated vectors depends on the angles only by their
  difference: RoFormer (https://arxiv.org/abs/2104.09864).

  Args:
    x: [B, N, heads, D].
    angles: float32 [N, D / 2].

  Returns:
    the rotated vectors, of the shape and dtype of x.
  """
  cosine, sine = (
    jnp.expand_dims(wave(angles), (0, 2)).astype(x.dtype)
    for wave in (jnp.cos, jnp.sin)
  )
  first, second = jnp.split(x, 2, axis=-1)
  return jnp.concatenate(
    [first * cosine - second * sine, first * sine + second * cosine], axis=-1
  )
