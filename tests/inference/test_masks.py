"""Laws of editing: masks of tokens, fillings, seams and windows."""

import functools
import itertools

import hypothesis
import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vq_jax.inference import masks
from vq_jax.inference import windows
from vq_jax.utils import images

law = hypothesis.settings(max_examples=60, deadline=None, derandomize=True)

SHAPE = (2, 6, 9)  # one shape for what is compiled
fill = jax.jit(masks.fill)
composite = functools.partial(
  jax.jit(masks.composite, static_argnames='sigma'), sigma=1.5
)


def some_masks(*shape):
  """Masks from empty to full, mostly of a few pixels."""
  random = st.integers(0, 2**32 - 1)
  return st.builds(
    lambda seed, share: np.random.default_rng(seed).random(shape) < share,
    random,
    st.sampled_from([0, 0.01, 0.1, 0.5, 0.99, 1]),
  )


def make_images(seed, dtype=np.float32):
  rng = np.random.default_rng(seed)
  if dtype == np.uint8:
    return rng.integers(0, 256, (*SHAPE, 3), dtype=np.uint8)
  return rng.random((*SHAPE, 3), np.float32)


@law
@hypothesis.given(
  st.data(),
  st.integers(1, 4),
  st.integers(1, 6),
  st.integers(1, 6),
  st.integers(0, 7),
)
def test_a_token_is_resampled_exactly_if_a_pixel_around_it_is_masked(
  data, stride, h, w, dilate
):
  """No masked pixel is missed, and none is masked beyond the dilation."""
  mask = data.draw(some_masks(2, h * stride, w * stride))
  masked = masks.token_mask(mask, stride, dilate)
  assert masked.shape == (2, h, w) and masked.dtype == bool
  for i, j in itertools.product(range(h), range(w)):
    around = mask[
      :,
      max(i - dilate, 0) * stride : (i + 1 + dilate) * stride,
      max(j - dilate, 0) * stride : (j + 1 + dilate) * stride,
    ]
    np.testing.assert_array_equal(masked[:, i, j], around.any(axis=(1, 2)))


def test_boxes_at_every_offset_are_sampled_completely():
  """Adding rounded offset and size would miss tokens at left 2, width 15."""
  size, stride = 32, 8
  for left, width in itertools.product(range(size), range(1, size)):
    mask = np.zeros((1, size, size), bool)
    mask[:, 3:5, left : left + width] = True
    masked = masks.token_mask(mask, stride)[0]
    columns = np.flatnonzero(masked.any(axis=0))
    last = min(left + width, size) - 1
    np.testing.assert_array_equal(
      columns, np.arange(left // stride, last // stride + 1)
    )
    assert not masked[1:].any()


def test_a_negative_dilation_is_refused():
  with pytest.raises(ValueError, match='of at least 0; got -1'):
    masks.token_mask(np.ones((1, 4, 4), bool), 2, -1)


@law
@hypothesis.given(some_masks(*SHAPE), st.integers(0, 99))
def test_masked_pixels_have_no_influence_on_the_fill(mask, seed):
  image = make_images(seed)
  filled = np.asarray(fill(image, ~mask))
  np.testing.assert_array_equal(filled[~mask], image[~mask])
  other = np.where(mask[..., None], np.float32(np.nan), image)
  np.testing.assert_array_equal(filled, fill(other, ~mask))
  for got, given, hidden in zip(filled, image, mask, strict=True):
    if hidden.all():
      assert (got == masks.GREY).all()
      continue
    low, high = given[~hidden].min(axis=0), given[~hidden].max(axis=0)
    assert (low - 1e-6 <= got).all() and (got <= high + 1e-6).all()


def test_the_fill_continues_nearby_pixels():
  """One side is dark, the other bright: so are both halves of the hole."""
  image = np.zeros((1, 8, 32, 1), np.float32)
  image[:, :, 16:] = 1
  known = np.ones((1, 8, 32), bool)
  known[:, :, 6:26] = False
  row = np.asarray(masks.fill(image, known))[0, 4, :, 0]
  assert (np.diff(row) >= -1e-6).all()
  assert row[8] < 0.2 and row[23] > 0.8


@law
@hypothesis.given(
  some_masks(*SHAPE), st.integers(0, 99), st.sampled_from([np.uint8, 'float32'])
)
def test_pixels_outside_the_mask_stay_to_the_bit(mask, seed, dtype):
  given = make_images(seed, dtype)
  image, sampled = images.to_float(given), make_images(seed + 1)
  whole = np.asarray(composite(image, sampled, ~mask))
  np.testing.assert_array_equal(whole[~mask], np.asarray(image)[~mask])
  np.testing.assert_array_equal(
    images.to_uint8(whole)[~mask], images.to_uint8(given)[~mask]
  )
  assert 0 <= whole.min() and whole.max() <= 1
  for got, new, hidden in zip(whole, sampled, mask, strict=True):
    if hidden.all():
      np.testing.assert_array_equal(got, new)


def test_every_value_of_a_byte_is_kept():
  image = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
  known = np.ones((1, 16, 16), bool)
  sampled = jnp.zeros((1, 16, 16, 1))
  whole = composite(images.to_float(image), sampled, known)
  np.testing.assert_array_equal(images.to_uint8(whole), image)
  np.testing.assert_array_equal(whole, image / np.float32(255))


def test_the_seam_is_blended_only_within_the_mask():
  """Samples that are too bright are darkened near the seam only."""
  image = np.full((1, 8, 40, 1), 0.4, np.float32)
  known = np.ones((1, 8, 40), bool)
  known[:, :, 10:] = False
  error = np.asarray(composite(image, image + 0.1, known))[0, 4, :, 0] - 0.4
  assert (error[:10] == 0).all()
  assert 0 < error[10] < 0.03
  assert (np.diff(error[10:]) >= -1e-6).all()
  np.testing.assert_allclose(error[20:], 0.1, atol=1e-6)


def test_compositing_an_image_with_itself_changes_nothing():
  image = make_images(0)
  mask = np.random.default_rng(1).random(SHAPE) < 0.5
  np.testing.assert_allclose(composite(image, image, ~mask), image, atol=1e-6)


def cut(array, corner, window):
  (top, left), (h, w) = corner, window
  return array[top : top + h, left : left + w]


@law
@hypothesis.given(
  st.data(), *[st.integers(1, 6)] * 2, *[st.integers(0, 14)] * 2
)
def test_windows_cover_all_tokens_and_each_samples_some(
  data, h, w, more, wider
):
  masked = data.draw(
    st.one_of(
      some_masks(h + more, w + wider),
      arrays.arrays(bool, (h + more, w + wider)),
    )
  )
  missing = masked.copy()
  for corner in windows.windows(masked, (h, w)):
    part = cut(missing, corner, (h, w))
    assert part.shape == (h, w) and part.any()
    part[:] = False
  assert not missing.any()


@law
@hypothesis.given(st.integers(1, 8), st.integers(0, 40))
def test_windows_overlap_by_half(window, more):
  size = window + more
  corners = windows.windows(np.ones((window, size), bool), (window, window))
  tops, lefts = zip(*corners, strict=True)
  assert set(tops) == {0}
  lefts = sorted(lefts)
  assert lefts[0] == 0 and lefts[-1] == more
  assert (np.diff(lefts) <= max(window // 2, 1)).all()


@law
@hypothesis.given(
  st.integers(2, 8), st.integers(0, 9), st.integers(1, 30), st.integers(0, 3)
)
def test_every_window_contains_known_tokens(window, further, new, turns):
  """Every window sees half a window of what is known or was sampled before."""
  known = window // 2 + further
  masked = np.zeros((window, max(known + new, window)), bool)
  masked[:, known:] = True
  masked = np.rot90(masked, turns)
  missing = masked.copy()
  for corner in windows.windows(masked, (window, window)):
    part = cut(missing, corner, (window, window))
    assert (~part).sum() >= window // 2 * window
    part[:] = False


@law
@hypothesis.given(st.data(), st.integers(2, 8))
def test_a_small_masked_region_is_centered_in_one_window(data, window):
  side = data.draw(st.integers(1, window // 2))
  top, left = (data.draw(st.integers(window, 2 * window)) for _ in range(2))
  masked = np.zeros((4 * window, 4 * window), bool)
  masked[top : top + side, left : left + side] = True
  ((row, column),) = windows.windows(masked, (window, window))
  for start, first in ((top, row), (left, column)):
    before, after = start - first, first + window - start - side
    assert abs(before - after) <= 1


def test_a_grid_of_the_training_size_needs_at_most_one_window():
  masked = np.zeros((4, 6), bool)
  assert windows.windows(masked, (4, 6)) == []
  masked[3, 0] = True
  assert windows.windows(masked, (4, 6)) == [(0, 0)]
