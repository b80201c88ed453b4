"""PSNR and SSIM against their formulas, written as loops."""

import jax
import numpy as np
import pytest

from vq_jax import metrics


@pytest.fixture
def pair():
  rng = np.random.default_rng(0)
  a = rng.uniform(size=(3, 16, 14, 2)).astype(np.float32)
  b = np.clip(a + 0.2 * rng.normal(size=a.shape), 0, 1).astype(np.float32)
  return a, b


def ssim_by_loops(a, b):
  taps = np.exp(-np.square(np.arange(11) - 5) / (2 * 1.5**2))
  window = np.outer(taps, taps) / np.outer(taps, taps).sum()
  height, width, channels = a.shape
  values = []
  for c in range(channels):
    for i in range(height - 10):
      for j in range(width - 10):
        x = a[i : i + 11, j : j + 11, c].astype(np.float64)
        y = b[i : i + 11, j : j + 11, c].astype(np.float64)
        mx, my = (window * x).sum(), (window * y).sum()
        vx = (window * (x - mx) ** 2).sum()
        vy = (window * (y - my) ** 2).sum()
        vxy = (window * (x - mx) * (y - my)).sum()
        values.append(
          (2 * mx * my + 1e-4)
          * (2 * vxy + 9e-4)
          / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))
        )
  return np.mean(values)


def test_ssim_equals_the_formula(pair):
  a, b = pair
  expected = [ssim_by_loops(x, y) for x, y in zip(a, b, strict=True)]
  np.testing.assert_allclose(metrics.ssim(a, b), expected, atol=1e-5)


def test_ssim_is_symmetric_and_one_for_equal_images(pair):
  a, b = pair
  np.testing.assert_allclose(metrics.ssim(a, b), metrics.ssim(b, a), atol=1e-6)
  np.testing.assert_allclose(metrics.ssim(a, a), 1, atol=1e-6)


def test_ssim_runs_under_jit(pair):
  np.testing.assert_allclose(
    jax.jit(metrics.ssim)(*pair), metrics.ssim(*pair), atol=1e-5
  )


def test_psnr_equals_the_formula(pair):
  a, b = pair
  mse = np.square(a - b).mean(axis=(1, 2, 3))
  np.testing.assert_allclose(metrics.mse(a, b), mse, rtol=1e-5)
  np.testing.assert_allclose(
    metrics.psnr(a, b), 10 * np.log10(1 / mse), rtol=1e-5
  )


def test_psnr_of_one_grey_level_and_of_equal_images():
  a = np.zeros((1, 4, 4, 1), np.uint8)
  expected = 20 * np.log10(255)
  np.testing.assert_allclose(metrics.psnr(a, a + 1), [expected], rtol=1e-5)
  assert np.isposinf(metrics.psnr(a, a)).all()


def test_pooled_psnr_is_not_above_the_mean_of_decibels(pair):
  a, b = pair
  b[0] = a[0] + 0.01
  pooled = metrics.psnr_from_mse(metrics.mse(a, b).mean())
  assert pooled < metrics.psnr(a, b).mean()


@pytest.mark.parametrize('measure', [metrics.psnr, metrics.ssim])
def test_uint8_images_are_measured_like_their_float_values(pair, measure):
  a, b = (np.round(255 * x).astype(np.uint8) for x in pair)
  np.testing.assert_allclose(
    measure(a, b),
    measure(a.astype(np.float32) / 255, b.astype(np.float32) / 255),
    rtol=1e-5,
  )


@pytest.mark.parametrize('measure', [metrics.mse, metrics.ssim])
def test_shapes_must_agree(pair, measure):
  a, b = pair
  with pytest.raises(ValueError, match='one shape'):
    measure(a, b[:, :-1])


def test_ssim_needs_room_for_its_window(pair):
  a, b = (x[:, :10] for x in pair)
  with pytest.raises(ValueError, match='smaller window'):
    metrics.ssim(a, b)
  assert metrics.ssim(a, b, window=7).shape == (3,)
