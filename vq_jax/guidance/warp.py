"""Homographies of images.

Positions are (x, y, 1) with x and y in [-1, 1] across the image, x to the right
and y down.
"""

import jax
import jax.numpy as jnp


def warp(image: jax.Array, matrix: jax.Array) -> jax.Array:
  """Moves the pixels of an image by a homography.

  Pixels are interpolated bilinearly; pixels from beyond the image are those of
  its border.

  Args:
    image: float [H, W, C].
    matrix: [3, 3], from old to new positions.

  Returns:
    float [H, W, C].
  """
  height, width, _ = image.shape
  x = (jnp.arange(width) + 0.5) * 2 / width - 1
  y = (jnp.arange(height) + 0.5) * 2 / height - 1
  new = jnp.stack([*jnp.meshgrid(x, y), jnp.ones((height, width))])
  old = jnp.einsum('ij,jhw->ihw', _adjugate(matrix), new)
  # A homography may send positions far away; those are the border's anyway.
  column = jnp.clip((old[0] / old[2] + 1) * width / 2 - 0.5, 0, width - 1)
  row = jnp.clip((old[1] / old[2] + 1) * height / 2 - 0.5, 0, height - 1)
  top = jnp.clip(jnp.floor(row).astype(jnp.int32), 0, max(height - 2, 0))
  left = jnp.clip(jnp.floor(column).astype(jnp.int32), 0, max(width - 2, 0))
  down = (row - top)[..., None].astype(image.dtype)
  right = (column - left)[..., None].astype(image.dtype)
  bottom, end = (
    jnp.minimum(top + 1, height - 1),
    jnp.minimum(left + 1, width - 1),
  )
  upper = image[top, left] * (1 - right) + image[top, end] * right
  lower = image[bottom, left] * (1 - right) + image[bottom, end] * right
  return upper * (1 - down) + lower * down


def _adjugate(matrix: jax.Array) -> jax.Array:
  """Returns the inverse of a matrix [3, 3] up to a factor.

  The factor does not matter for a homography; a decomposition would be slow on
  accelerators.
  """
  a, b, c = matrix.T
  return jnp.stack([jnp.cross(b, c), jnp.cross(c, a), jnp.cross(a, b)])


def square_to_quadrilateral(corners: jax.Array) -> jax.Array:
  """Returns the homography from the square [-1, 1]^2 to a quadrilateral.

  Heckbert, "Fundamentals of texture mapping and image warping", 1989, 2.2.3.

  Args:
    corners: [4, 2], (x, y) of the images of the corners (-1, -1), (1, -1),
      (1, 1) and (-1, 1).

  Returns:
    float32 [3, 3].
  """
  first, second, third, fourth = corners
  total = first - second + third - fourth
  a, b = second - third, fourth - third
  determinant = a[0] * b[1] - a[1] * b[0]
  g = (total[0] * b[1] - total[1] * b[0]) / determinant
  h = (a[0] * total[1] - a[1] * total[0]) / determinant
  columns = [
    jnp.append(second - first + g * second, g),
    jnp.append(fourth - first + h * fourth, h),
    jnp.append(first, 1.0),
  ]
  to_unit = jnp.array([[0.5, 0.0, 0.5], [0.0, 0.5, 0.5], [0.0, 0.0, 1.0]])
  return jnp.stack(columns, axis=1) @ to_unit
