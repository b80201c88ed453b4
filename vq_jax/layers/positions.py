"""Where a token is, as a vector."""

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
