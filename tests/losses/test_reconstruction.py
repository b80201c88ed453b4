"""Laws of the distances between images."""

import jax
import numpy as np
import pytest

from vq_jax import losses


def pair():
  rng = np.random.default_rng(0)
  return rng.uniform(size=(2, 4, 5, 6, 3)).astype(np.float32)


@pytest.mark.parametrize(
  ('loss', 'distance'), [(losses.l1, np.abs), (losses.l2, np.square)]
)
def test_one_mean_per_image(loss, distance):
  a, b = pair()
  got = jax.jit(loss)(a, b)
  want = [
    distance(x.astype(np.float64) - y).mean() for x, y in zip(a, b, strict=True)
  ]
  np.testing.assert_allclose(got, want, rtol=1e-5)
  np.testing.assert_array_equal(loss(a, a), np.zeros(4))
  np.testing.assert_array_equal(loss(a, b), loss(b, a))


def test_known_values():
  black, grey = np.zeros((1, 2, 2, 1), np.float32), np.full((1, 2, 2, 1), 0.5)
  assert losses.l1(black, grey.astype(np.float32)) == 0.5
  assert losses.l2(black, grey.astype(np.float32)) == 0.25
