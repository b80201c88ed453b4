"""Laws of cutouts, and their values beside plain implementations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from vq_jax.guidance import cutouts

KEY = jax.random.key(3)


def image_of(height, width, seed=0):
  rng = np.random.default_rng(seed)
  return jnp.asarray(rng.uniform(size=(height, width, 3)), jnp.float32)


@pytest.mark.parametrize('name', cutouts.KINDS)
def test_a_cutout_depends_on_its_number_alone(name):
  kind, image = cutouts.by_name(name), image_of(20, 30)
  whole = kind(KEY, image, jnp.arange(8), 8, 6)
  assert whole.shape == (8, 6, 6, 3)
  parts = [kind(KEY, image, jnp.array([i, 7 - i]), 8, 6) for i in range(4)]
  for i, part in enumerate(parts):
    np.testing.assert_allclose(part, whole[jnp.array([i, 7 - i])], atol=1e-6)


@pytest.mark.parametrize('name', cutouts.KINDS)
def test_a_constant_image_stays_constant(name):
  found = cutouts.by_name(name)(
    KEY, jnp.full((20, 20, 3), 0.7), jnp.arange(8), 8, 6
  )
  np.testing.assert_allclose(found, 0.7, atol=1e-5)


@pytest.mark.parametrize('name', cutouts.KINDS)
def test_all_pixels_have_a_gradient(name):
  kind = cutouts.by_name(name)

  def total(image):
    return jnp.square(kind(KEY, image, jnp.arange(32), 32, 6)).sum()

  grad = jax.grad(total)(image_of(12, 12))
  assert np.isfinite(grad).all()
  # A maximum pools some of the pixels, the mean all of them.
  assert (np.abs(grad).sum(axis=-1) > 0).mean() > 0.95


def test_resizing_a_box_is_pillows():
  image = image_of(24, 30)
  got = cutouts.resize_box(image, 3, 5, 16, 8)
  for channel in range(3):
    pixels = Image.fromarray(np.asarray(image[3:19, 5:21, channel]))
    want = np.asarray(pixels.resize((8, 8), Image.Resampling.BILINEAR))
    # The kernel sees pixels beyond the box; Pillow's image ends there.
    np.testing.assert_allclose(
      got[1:-1, 1:-1, channel], want[1:-1, 1:-1], atol=1e-5
    )
  whole = cutouts.resize_box(image[:24, :24], 0, 0, 24, 9)
  pixels = Image.fromarray(np.asarray(image[:24, :24, 0]))
  want = np.asarray(pixels.resize((9, 9), Image.Resampling.BILINEAR))
  np.testing.assert_allclose(whole[..., 0], want, atol=1e-5)


@pytest.mark.parametrize('size', [4, 7, 12, 17])
def test_adaptive_pooling_is_that_of_each_window(size):
  image = np.asarray(image_of(12, 15))
  for kind, reduce in (('mean', np.mean), ('max', np.max)):
    got = cutouts.adaptive_pool(jnp.asarray(image), size, kind)
    for i in range(size):
      for j in range(size):
        rows = slice(i * 12 // size, -(-(i + 1) * 12 // size))
        columns = slice(j * 15 // size, -(-(j + 1) * 15 // size))
        want = reduce(image[rows, columns], axis=(0, 1))
        np.testing.assert_allclose(got[i, j], want, rtol=1e-5)


def test_random_crops_are_within_the_image_and_of_the_range_of_sizes():
  """The position of a pixel as its colour tells where a crop lies."""
  rows, columns = np.mgrid[:40, :60] + 0.5
  image = jnp.asarray(np.stack([rows, columns, rows * 0], -1), jnp.float32)
  found = cutouts.RandomCrops(least=0.25)(KEY, image, jnp.arange(200), 200, 10)
  side = (found[:, -2, 5, 0] - found[:, 1, 5, 0]) * 10 / 7
  assert side.min() >= 9.5 and side.max() <= 40.5
  assert side.min() < 12 and side.max() > 37
  assert found[..., 0].min() >= 0 and found[..., 0].max() <= 40
  assert found[..., 1].min() >= 0 and found[..., 1].max() <= 60


def test_an_overview_shows_the_whole_image_on_grey():
  image = jnp.full((10, 20, 3), jnp.array([1.0, 0.0, 0.0]))
  kind = cutouts.OverviewAndCrops(overviews=0.5)
  found = kind(KEY, image, jnp.arange(8), 8, 20)
  np.testing.assert_allclose(found[0, 8:12], image[:4], atol=1e-5)
  np.testing.assert_allclose(found[0, :4], 0.5, atol=1e-5)
  np.testing.assert_allclose(found[3, 8:12], 1 / 3, atol=1e-5)  # without colour
  np.testing.assert_allclose(found[4, 8:12, 8:12], image[:4, :4], atol=1e-5)


def test_an_unknown_kind_is_refused():
  with pytest.raises(ValueError, match='one of crops, pooled, overview'):
    cutouts.by_name('squares')
