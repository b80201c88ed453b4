"""Sampling the unknown tokens of an image, in windows if it is large.

A prior samples the grid of its training images. On a larger grid of tokens it
is applied to windows of that size, one after the other.
"""

from collections.abc import Iterator
from collections.abc import Sequence

import jax
import numpy as np

from vq_jax import samplers
from vq_jax.inference import generate
from vq_jax.inference.info import Pipeline
from vq_jax.inference.types import Array


def sample_missing(
  pipeline: Pipeline,
  keys: jax.Array,
  indices: Sequence[tuple[Array, Array]],
  label: Array | None,
  trace: bool = False,
) -> Iterator[tuple[np.ndarray, ...]]:
  """Samples the unknown indices of images, window by window.

  Args:
    pipeline: the model.
    keys: [B], one key per example.
    indices: for each level int32 [B, h, w, *index_shape] and bool of that
      shape, True where an index is known; the parent level first.
    label: int32 [B], or None for priors without classes.
    trace: whether to yield all steps of each window.

  Yields:
    the indices of all levels after each window; after the last none is unknown.
  """
  grids = pipeline.grids
  parts = [np.array(part) for part, _ in indices]
  known = [np.array(given) for _, given in indices]
  missing = ~np.all(known[-1].reshape(*known[-1].shape[:3], -1), axis=-1)
  if len(indices) > 1:  # hierarchies have one window
    complete = all(given.all() for given in known)
    corners = np.zeros((0 if complete else 1, len(keys), 2), int)
  else:
    corners = _corners(missing, grids[-1])
  for number, corner in enumerate(corners):
    slices = [_window_slices(corner, shape) for shape in grids]
    given = [
      tuple(x[window].reshape(len(keys), -1) for x in (part, mask))
      for part, mask, window in zip(parts, known, slices, strict=True)
    ]
    *parents, sampled = generate.sample_levels(
      pipeline.levels,
      samplers.fold_in(keys, number) if number else keys,
      label,
      given,
      trace,
    )
    for part, window, tokens in zip(parts, slices, parents, strict=False):
      part[window] = np.asarray(tokens).reshape(part[window].shape)
    last = np.asarray(sampled)
    for tokens in np.swapaxes(last, 0, 1) if trace else last[None]:
      parts[-1][slices[-1]] = tokens.reshape(parts[-1][slices[-1]].shape)
      yield tuple(part.copy() for part in parts)
    for mask, window in zip(known, slices, strict=True):
      mask[window] = True


def _corners(missing: np.ndarray, window: tuple[int, int]) -> np.ndarray:
  """Returns where the windows of each example lie: int [K, B, 2].

  The windows of an example depend on its own mask alone. If it needs fewer
  windows than others, its last one is repeated; no token of it is missing then.
  """
  corners = [windows(mask, window) for mask in missing]
  count = max(map(len, corners), default=0)
  filled = [part + (part[-1:] or [(0, 0)]) * count for part in corners]
  return np.array([part[:count] for part in filled], int).swapaxes(0, 1)


def _window_slices(corner: np.ndarray, window: tuple[int, int]) -> tuple:
  """Returns the index of [B, h, w, ...] that selects a window per example."""
  rows, columns = (
    corner[:, axis, None] + np.arange(size) for axis, size in enumerate(window)
  )
  return (
    np.arange(len(corner))[:, None, None],
    rows[:, :, None],
    columns[:, None],
  )


def windows(mask: np.ndarray, window: tuple[int, int]) -> list[tuple[int, int]]:
  """Returns the windows of a large grid that contain all masked tokens.

  Windows overlap by at least half. In each, the tokens are sampled that no
  earlier window contains. The window with the most known tokens comes first, so
  that an image grows outwards from its known parts. A mask of up to half a
  window needs one window, with the mask in its middle.

  Args:
    mask: bool [h, w], True where a token is unknown.
    window: (h', w') of the prior's grid, at most (h, w).

  Returns:
    (top, left) of each window, in order; each contains masked tokens that no
    earlier window contains.
  """
  if not mask.any():
    return []
  axes = (
    _offsets(np.flatnonzero(mask.any(axis=1 - axis)), size, part)
    for axis, (size, part) in enumerate(zip(mask.shape, window, strict=True))
  )
  tops, lefts = axes
  corners = [(top, left) for top in tops for left in lefts]
  missing, order = mask.copy(), []

  def count_missing(corner):
    return missing[_slices(corner, window)].sum()

  while corners := [corner for corner in corners if count_missing(corner)]:
    order.append(min(corners, key=count_missing))
    missing[_slices(order[-1], window)] = False
  return order


def _slices(
  corner: tuple[int, int], window: tuple[int, int]
) -> tuple[slice, ...]:
  return tuple(
    slice(start, start + size)
    for start, size in zip(corner, window, strict=True)
  )


def _offsets(needed: np.ndarray, size: int, window: int) -> list[int]:
  """Returns where windows begin along an axis of `size` tokens.

  Args:
    needed: the positions that they must contain, in ascending order.
    size: tokens of the axis.
    window: tokens of a window.
  """
  low, high = needed[0], needed[-1] + 1
  half = window // 2
  if 2 * (high - low) <= window:
    first = last = (low + high - window) // 2
  else:  # with half a window of known tokens on both sides
    first, last = low - half, high + half - window
  first, last = np.clip([first, last], 0, size - window)
  count = 1 + -(-(last - first) // max(half, 1))
  return np.round(np.linspace(first, last, count)).astype(int).tolist()
