"""Laws of bounds on the likelihood."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vq_jax import losses


def test_one_sample_is_the_evidence_lower_bound():
  log_weights = jnp.asarray(np.random.default_rng(0).normal(size=(1, 7)))
  np.testing.assert_allclose(losses.iwae_bound(log_weights), log_weights[0])


def test_the_bound_is_the_log_of_the_mean_weight():
  log_weights = np.random.default_rng(0).normal(size=(9, 5)) - 3
  want = np.log(np.exp(log_weights).mean(axis=0))
  np.testing.assert_allclose(
    losses.iwae_bound(jnp.asarray(log_weights)), want, rtol=1e-5
  )


def test_log_weights_below_the_float_range_are_finite():
  log_weights = jnp.array([[-2000.0], [-2001.0]])
  want = -2000 + np.log((1 + np.exp(-1)) / 2)
  np.testing.assert_allclose(losses.iwae_bound(log_weights), [want], rtol=1e-6)


def test_more_samples_bring_it_closer_to_the_evidence():
  """x = z + noise, both normal: log p(x) = log N(x; 0, 2) is known."""
  x, spread = 1.5, 1.4  # q = N(x / 2, spread^2 / 2), too wide
  q_mean, q_var = x / 2, spread**2 / 2
  z = q_mean + np.sqrt(q_var) * jax.random.normal(jax.random.key(0), (64, 4000))

  def normal(value, mean, var):
    return -0.5 * (jnp.square(value - mean) / var + jnp.log(2 * jnp.pi * var))

  log_weights = normal(x, z, 1.0) + normal(z, 0.0, 1.0)
  log_weights -= normal(z, q_mean, q_var)
  found = [
    float(losses.iwae_bound(log_weights[:k]).mean()) for k in (1, 4, 16, 64)
  ]
  evidence = float(normal(x, 0.0, 2.0))
  assert (np.diff(found) > 0).all() and found[-1] < evidence + 1e-3
  np.testing.assert_allclose(found[-1], evidence, atol=5e-3)


@pytest.mark.parametrize('bins', [2, 256])
def test_a_uniform_guess_costs_all_bits(bins):
  dims = 12
  nats = -dims * np.log(bins)
  np.testing.assert_allclose(
    losses.bits_per_dim(nats, dims), np.log2(bins), rtol=1e-6
  )
  # The uniform density over the range says the same.
  np.testing.assert_allclose(
    losses.bits_per_dim(0.0, dims, bins), np.log2(bins), rtol=1e-6
  )
