"""Editing: which tokens a mask of pixels means, and the seams of what is made.

Masks are bool, True where a picture is to be redrawn; `known` is the opposite.
"""

import jax
import jax.numpy as jnp
import numpy as np

from vq_jax.utils import fields

GREY = 0.5  # where nothing at all is known


def token_mask(mask: np.ndarray, stride: int, dilate: int = 0) -> np.ndarray:
  """Returns the tokens to be redrawn.

  A token is redrawn if any of its pixels is masked, and if a token at most
  `dilate` away, in any of the 8 directions, is.

  Args:
    mask: bool [B, H, W], H and W multiples of stride.
    stride: pixels per token along a side.
    dilate: in tokens.

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
  return neighbours.any(axis=(-2, -1))


def fill(image: jax.Array, known: jax.Array) -> jax.Array:
  """Fills what is not known by what is, smoothly.

  Means of the known pixels of 2 x 2 blocks, of blocks of such blocks and so on
  until all is known, are spread linearly from the coarse to the fine. What
  unknown pixels hold, were it NaN, has no part in the result.

  Args:
    image: float32 [B, H, W, C].
    known: bool [B, H, W].

  Returns:
    float32 [B, H, W, C], grey where an example knows nothing.
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
  image: jax.Array, made: jax.Array, known: jax.Array, sigma: float
) -> jax.Array:
  """Lays the known pixels over what was made; blends within the rest alone.

  What was made differs a little from the known pixels. That difference, at the
  nearest of them, is added to what was made: whole at the seam, and less and
  less farther away.

  Args:
    image: float32 [B, H, W, C].
    made: float32 [B, H, W, C].
    known: bool [B, H, W].
    sigma: how far the seam is blended, in pixels: a Gaussian's.

  Returns:
    float32 [B, H, W, C], `image` to the bit where it is known, in [0, 1]
    elsewhere.
  """
  known = known[..., None]
  weight = known.astype(jnp.float32)
  # What is nearest is judged by half the sigma: the mean over a wide part of
  # the seam would leave steps along it.
  gap = _blur(jnp.where(known, image - made, 0), sigma / 2)
  gap /= jnp.maximum(_blur(weight, sigma / 2), 1e-6)
  share = jnp.minimum(2 * _blur(weight, sigma), 1)
  return jnp.where(known, image, jnp.clip(made + gap * share, 0, 1))


def _blur(image: jax.Array, sigma: float) -> jax.Array:
  """Returns Gaussian means of [B, H, W, C]; beyond the border is nothing."""
  rows, columns = (_gaussian(size, sigma) for size in image.shape[1:3])
  return jnp.einsum(
    'ij,bjkc,lk->bilc', rows, image, columns, precision='highest'
  )


def _gaussian(size: int, sigma: float) -> np.ndarray:
  """Returns weights [size, size] of each pixel's neighbours; rows sum to 1."""
  places = np.arange(size, dtype=np.float32)
  weights = np.exp(-(((places[:, None] - places[None]) / sigma) ** 2) / 2)
  return weights / weights.sum(axis=1, keepdims=True)


def windows(
  redraw: np.ndarray, window: tuple[int, int]
) -> list[tuple[int, int]]:
  """Returns where a prior's grid is laid on a larger one, in order.

  Windows overlap by at least half. Each redraws what it holds of the tokens not
  redrawn yet, and the one that knows most tokens comes first, so that a picture
  grows from what is known outwards. A mask of up to half a window has one
  window, with the mask in its middle.

  Args:
    redraw: bool [h, w].
    window: (h', w') of the prior's grid, at most (h, w).

  Returns:
    (top, left) of each window; all tokens to be redrawn lie in one of them, and
    each window has some that no earlier one has.
  """
  if not redraw.any():
    return []
  axes = (
    _offsets(np.flatnonzero(redraw.any(axis=1 - axis)), size, part)
    for axis, (size, part) in enumerate(zip(redraw.shape, window, strict=True))
  )
  tops, lefts = axes
  places = [(top, left) for top in tops for left in lefts]
  missing, order = redraw.copy(), []

  def left_in(place):
    return missing[_slices(place, window)].sum()

  while places := [place for place in places if left_in(place)]:
    order.append(min(places, key=left_in))
    missing[_slices(order[-1], window)] = False
  return order


def _slices(place, window):
  return tuple(
    slice(start, start + size)
    for start, size in zip(place, window, strict=True)
  )


def _offsets(needed: np.ndarray, size: int, window: int) -> list[int]:
  """Returns where windows begin along an axis of `size` tokens.

  Args:
    needed: the places that they must cover, in ascending order.
    size: tokens of the axis.
    window: tokens of a window.
  """
  low, high = needed[0], needed[-1] + 1
  half = window // 2
  if 2 * (high - low) <= window:
    first = last = (low + high - window) // 2
  else:  # half a window of what is known on both sides
    first, last = low - half, high + half - window
  first, last = np.clip([first, last], 0, size - window)
  count = 1 + -(-(last - first) // max(half, 1))
  return np.round(np.linspace(first, last, count)).astype(int).tolist()
