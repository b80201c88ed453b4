"""Images are resized as the published programs do it."""

import jax
import numpy as np
import pytest
from PIL import Image

from vq_jax.features import resizing


def images(*shape):
  return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize('size', [5, 13])
def test_pytorch_interpolates_between_centres_without_antialiasing(size):
  given = images(2, 9, 7, 3)
  want = jax.image.resize(
    given.astype(np.float32), (2, size, size, 3), 'bilinear', antialias=False
  )
  got = resizing.resize(given, (size, size), 'pytorch')
  np.testing.assert_allclose(got, want, atol=1e-3)


@pytest.mark.parametrize('size', [4, 11])
def test_tensorflow_by_the_definition(size):
  """Pixel i of the output is at i * old / new, whatever its width."""
  given = images(1, 9, 7, 1)
  got = resizing.resize(given, (size, size), 'tensorflow')
  x = given[0, :, :, 0].astype(np.float64)
  for i in range(size):
    for j in range(size):
      y, z = i * 9 / size, j * 7 / size
      a, b = int(y), int(z)
      c, d = min(a + 1, 8), min(b + 1, 6)
      top = x[a, b] + (x[a, d] - x[a, b]) * (z - b)
      bottom = x[c, b] + (x[c, d] - x[c, b]) * (z - b)
      want = top + (bottom - top) * (y - a)
      assert got[0, i, j, 0] == pytest.approx(want, abs=1e-3)


def test_clean_is_the_bicubic_filter_of_pillow_for_each_channel():
  given = images(2, 20, 14, 3)
  got = resizing.resize(given, (9, 11), 'clean')
  for image, found in zip(given, got, strict=True):
    for c in range(3):
      channel = Image.fromarray(image[..., c].astype(np.float32))
      want = np.asarray(channel.resize((11, 9), Image.BICUBIC)).clip(0, 255)
      np.testing.assert_array_equal(found[..., c], want)
  assert np.any(got != np.round(got))


@pytest.mark.parametrize('resizer', resizing.RESIZERS)
def test_images_of_the_size_stay(resizer):
  given = images(2, 6, 6, 3)
  np.testing.assert_array_equal(resizing.resize(given, (6, 6), resizer), given)


@pytest.mark.parametrize('resizer', resizing.RESIZERS[:-1])
def test_values_stay_in_range_and_constants_stay(resizer):
  extreme = (images(1, 8, 8, 1) > 127).astype(np.uint8) * 255
  got = resizing.resize(extreme, (11, 9), resizer)
  assert got.dtype == np.float32 and 0 <= got.min() <= got.max() <= 255
  constant = np.full((1, 8, 5, 3), 200, np.uint8)
  np.testing.assert_allclose(
    resizing.resize(constant, (11, 9), resizer), 200, rtol=1e-6
  )


def test_none_takes_only_the_size():
  with pytest.raises(ValueError, match='6 x 6.*got 6 x 5.*clean'):
    resizing.resize(images(1, 6, 5, 3), (6, 6), 'none')


def test_an_unknown_resizer():
  with pytest.raises(ValueError, match="'bicubic'.*clean, pytorch"):
    resizing.resize(images(1, 6, 5, 3), (6, 6), 'bicubic')
