"""Laws of what training hides."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vq_jax import priors
from vq_jax.samplers import schedules

B, N = 4000, 20

mask = jax.jit(
  priors.random_mask, static_argnames=('num_tokens', 'schedule', 'min_ratio')
)


def keys(n=B, seed=0):
  return jax.random.split(jax.random.key(seed), n)


@functools.cache
def sample_masks(schedule=schedules.cosine, num_tokens=N, min_ratio=0.0):
  return np.asarray(mask(keys(), num_tokens, schedule, min_ratio))


@pytest.mark.parametrize(
  ('schedule', 'integral'),
  [
    (schedules.cosine, 2 / np.pi),
    (schedules.linear, 1 / 2),
    (schedules.square, 2 / 3),
    (schedules.arccos, 2 / np.pi),
  ],
)
def test_the_mean_is_the_integral_of_the_schedule(schedule, integral):
  """Rounding up adds half a token in the mean."""
  mean = sample_masks(schedule).mean()
  np.testing.assert_allclose(mean, integral + 0.5 / N, atol=0.015)


def test_counts_are_those_of_a_uniform_ratio_rounded_up():
  """P(count <= c) = P(cos(pi r / 2) <= c / N) = 1 - 2/pi acos(c / N)."""
  counts = sample_masks().sum(axis=1)
  assert counts.min() == 1
  assert counts.max() == N
  c = np.arange(1, N + 1)
  want = 1 - 2 / np.pi * np.arccos(c / N)
  got = (counts[:, None] <= c).mean(axis=0)
  np.testing.assert_allclose(got, want, atol=0.025)


@pytest.mark.parametrize('fraction', [0.0, 0.001, 0.31, 1.0])
def test_a_fraction_is_rounded_up_and_never_to_nothing(fraction):
  def fixed(ratio, num_tokens):
    del num_tokens
    return jnp.full_like(ratio, fraction)

  counts = mask(keys(50), N, fixed).sum(axis=1)
  want = max(int(np.ceil(np.float32(fraction) * np.float32(N))), 1)
  np.testing.assert_array_equal(counts, np.full(50, want))


def test_no_less_than_the_least_ratio():
  counts = sample_masks(min_ratio=0.45).sum(axis=1)
  assert counts.min() == 9
  free = sample_masks().sum(axis=1)
  np.testing.assert_array_equal(counts, np.maximum(free, 9))
  assert (free < 9).any()


def test_each_position_is_as_likely_and_pairs_are_too():
  hidden = sample_masks().astype(float)
  np.testing.assert_allclose(
    hidden.mean(axis=0), np.full(N, hidden.mean()), atol=0.04
  )
  half = sample_masks(lambda r, n: 0 * r + 0.5, min_ratio=0.0).astype(float)
  together = half.T @ half / B
  off = together[~np.eye(N, dtype=bool)]
  np.testing.assert_allclose(off, 0.5 * 9 / 19, atol=0.04)


def test_an_example_is_masked_alike_in_any_batch():
  whole = np.asarray(mask(keys(8), N, schedules.cosine))
  for part in [slice(3, 4), slice(None, None, -1)]:
    np.testing.assert_array_equal(
      mask(keys(8)[part], N, schedules.cosine), whole[part]
    )
  assert len(np.unique(whole, axis=0)) > 1


@pytest.mark.parametrize('rate', [0.0, 0.3, 1.0])
def test_labels_are_dropped_at_the_rate(rate):
  label = jnp.arange(B) % 7
  got = np.asarray(
    jax.jit(priors.drop_labels, static_argnums=3)(keys(), label, rate, 7)
  )
  dropped = got == 7
  np.testing.assert_array_equal(got[~dropped], label[~dropped])
  np.testing.assert_allclose(dropped.mean(), rate, atol=0.03 * (0 < rate < 1))
  by_class = [dropped[np.asarray(label) == k].mean() for k in range(7)]
  np.testing.assert_allclose(by_class, rate, atol=0.08)


def test_a_label_is_dropped_alike_in_any_batch():
  label = jnp.arange(8)
  whole = priors.drop_labels(keys(8), label, 0.5, 9)
  part = priors.drop_labels(keys(8)[2:5], label[2:5], 0.5, 9)
  np.testing.assert_array_equal(part, whole[2:5])
