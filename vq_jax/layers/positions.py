"""Where a token is, as a vector."""

import jax
import jax.numpy as jnp
import numpy as np


def sincos_2d(grid: tuple[int, int], width: int) -> np.ndarray:
  """Fixed sine and cosine positions of a grid (ViT-VQGAN's released code).

  The first half of a vector tells the column, the second the row; a half is
  sin(p / 10000^(i / m)) for i = 0 ... m - 1, m = width / 4, then the cosines.

  Args:
    grid: (h, w).
    width: D, a multiple of 4.

  Returns:
    float32 [h * w, D], row by row.

  Raises:
    ValueError: if the width is no multiple of 4.
  """
  if width < 4 or width % 4:
    raise ValueError(
      'two sines and two cosines make a position, so the width must be a '
      f'multiple of 4; got {width}.'
    )
  frequencies = 10000.0 ** -(np.arange(width // 4) / (width // 4))
  rows, columns = np.indices(grid).reshape(2, -1, 1)
  angles = [place * frequencies[None] for place in (columns, rows)]
  waves = [wave(angle) for angle in angles for wave in (np.sin, np.cos)]
  return np.concatenate(waves, axis=-1).astype(np.float32)


def rope_2d(grid: tuple[int, int], head_dim: int) -> np.ndarray:
  """Angles of rotary positions of a grid (LlamaGen, Sun et al. 2024, 3.2).

  Half of the pairs of a head turn by the row, half by the column: pair i of m
  by p / 10000^(i / m).

  Args:
    grid: (h, w).
    head_dim: width of a head, a multiple of 4.

  Returns:
    float32 [h * w, head_dim / 2], row by row; see `rotate`.

  Raises:
    ValueError: if the width is no multiple of 4.
  """
  if head_dim < 4 or head_dim % 4:
    raise ValueError(
      'rotary positions turn pairs by rows and pairs by columns, so the width '
      f'of a head must be a multiple of 4; got {head_dim}.'
    )
  frequencies = 10000.0 ** -(np.arange(head_dim // 4) / (head_dim // 4))
  rows, columns = np.indices(grid).reshape(2, -1, 1)
  angles = [place * frequencies[None] for place in (rows, columns)]
  return np.concatenate(angles, axis=-1).astype(np.float32)


def rotate(x: jax.Array, angles: jax.Array) -> jax.Array:
  """Turns pairs of components, i and i + D / 2, in their plane (RoFormer).

  The product of two turned vectors depends on the difference of their angles
  alone.

  Args:
    x: [B, N, heads, D].
    angles: float32 [N, D / 2].

  Returns:
    what x becomes, of its shape and dtype.
  """
  cosine, sine = (
    jnp.expand_dims(wave(angles), (0, 2)).astype(x.dtype)
    for wave in (jnp.cos, jnp.sin)
  )
  first, second = jnp.split(x, 2, axis=-1)
  return jnp.concatenate(
    [first * cosine - second * sine, first * sine + second * cosine], axis=-1
  )
