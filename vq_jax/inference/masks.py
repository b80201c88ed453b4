"""Masks of pixels and tokens, filling of holes, and blending of edits.

A mask is bool, True where an image is sampled anew; `known` is its opposite.
"""

import jax
import jax.numpy as jnp
import numpy as np

from vq_jax.utils import fields

GREY = 0.5  # the fill of an image without known pixels


def token_mask(mask: np.ndarray, stride: int, dilate: int = 0) -> np.ndarray:
  """Returns which tokens a mask of pixels covers.

  A token is masked if any of its pixels is masked, or if a token within the
  distance `dilate` is, in any of the 8 directions.

  Args:
    mask: bool [B, H, W], H and W multiples of stride.
    stride: pixels per token along a side.
    dilate: a number of tokens.

  Returns:
    bool [B, H / stride, W / stride].

  Raises:
    ValueError: if dilate is negative.
  """
  dilate = fields.check_value('dilate', dilate, fields.NonNegativeInt)
  b, height, width = mask.shape
  dilate = min(dilate, max(height, width) // stride)  # more changes nothing
  blocks = mask.reshape(b, height // stride, stride, width // stride, stride)
  around = ((0, 0), (dilate, dilate), (dilate, dilate))
  neighbours = np.lib.stride_tricks.sliding_window_view(
    np.pad(blocks.any(axis=(2, 4)), around), (2 * dilate + 1,) * 2, (1, 2)
  )
  return np.any(neighbours, axis=(-2, -1))


def fill(image: jax.Array, known: jax.Array) -> jax.Array:
  """Fills the unknown pixels smoothly from the known ones.

  Pull-push: builds a pyramid of the means of known pixels in 2 x 2 blocks,
  until all blocks are known, and interpolates it linearly from coarse to fine.
  The values of unknown pixels, even NaN, have no influence on the result.

  Args:
    image: float32 [B, H, W, C].
    known: bool [B, H, W].

  Returns:
    float32 [B, H, W, C]; an example without known pixels becomes grey.
  """
  b, height, width, channels = image.shape
  image = jnp.where(known[..., None], image, 0)
  if height == width == 1:
    return jnp.where(known[..., None], image, GREY)
  odd = ((0, 0), (0, height % 2), (0, width % 2))
  blocks = (b, -(-height // 2), 2, -(-width // 2), 2)
  sums = jnp.pad(image, (*odd, (0, 0))).reshape(*blocks, channels)
  counts = jnp.pad(known, odd).reshape(blocks).sum(axis=(2, 4))
  means = sums.sum(axis=(2, 4)) / jnp.maximum(counts, 1)[..., None]
  coarse = fill(means, counts > 0)
  shape = (b, 2 * coarse.shape[1], 2 * coarse.shape[2], channels)
  smooth = jax.image.resize(coarse, shape, 'linear')[:, :height, :width]
  return jnp.where(known[..., None], image, smooth)


def composite(
  image: jax.Array, decoded: jax.Array, known: jax.Array, sigma: float
) -> jax.Array:
  """Combines the known pixels of an image with a decoded image.

  The decoded image differs slightly from the known pixels. The difference at
  the nearest known pixels is added to the unknown ones, fully at the seam and
  with a weight that falls with the distance from it.

  Args:
    image: float32 [B, H, W, C].
    decoded: float32 [B, H, W, C].
    known: bool [B, H, W].
    sigma: the width of the blended seam: the standard deviation of a Gaussian,
      in pixels.

  Returns:
    float32 [B, H, W, C], equal to `image` where it is known, in [0, 1]
    elsewhere.
  """
  known = known[..., None]
  weight = known.astype(jnp.float32)
  # Half the sigma: the mean over a wide part of the seam would leave steps
  # along it.
  gap = _blur(jnp.where(known, image - decoded, 0), sigma / 2)
  gap /= jnp.maximum(_blur(weight, sigma / 2), 1e-6)
  weight_of_gap = jnp.minimum(2 * _blur(weight, sigma), 1)
  return jnp.where(known, image, jnp.clip(decoded + gap * weight_of_gap, 0, 1))


def _blur(image: jax.Array, sigma: float) -> jax.Array:
  """Convolves [B, H, W, C] with a Gaussian that is cut off at the border."""
  rows, columns = (_gaussian(size, sigma) for size in image.shape[1:3])
  return jnp.einsum(
    'ij,bjkc,lk->bilc', rows, image, columns, precision='highest'
  )


def _gaussian(size: int, sigma: float) -> np.ndarray:
  """Returns the weights [size, size] of a blur; the rows sum to 1."""
  positions = np.arange(size, dtype=np.float32)
  weights = np.exp(-(((positions[:, None] - positions[None]) / sigma) ** 2) / 2)
  return weights / weights.sum(axis=1, keepdims=True)
