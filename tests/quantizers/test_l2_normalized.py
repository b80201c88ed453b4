"""Laws of quantizers on the unit sphere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.quantizers import cases
from tests.quantizers.cases import D
from tests.quantizers.cases import K
from vq_jax import quantizers
from vq_jax.layers import normalization
from vq_jax.quantizers import kmeans

MAKERS = [
  pytest.param(cases.CASES[name].make, id=name)
  for name in ['vq', 'ema_vq', 'factorized_vq']
]


def norms(x):
  return np.linalg.norm(x, axis=-1)


@pytest.mark.parametrize('make', MAKERS)
def test_codes_have_unit_length_and_the_latents_length_does_not_matter(make):
  quantizer = make(l2_normalize=True)
  variables = cases.init(quantizer)
  z = cases.latents(30)
  one, _ = cases.run(quantizer, variables, z)
  long, _ = cases.run(quantizer, variables, 100 * z)
  np.testing.assert_allclose(norms(one.quantized), 1, rtol=1e-5)
  np.testing.assert_array_equal(one.indices, long.indices)
  np.testing.assert_allclose(one.loss, long.loss, rtol=1e-4)


@pytest.mark.parametrize('make', MAKERS)
def test_the_code_of_the_largest_cosine_is_chosen(make):
  quantizer = make(l2_normalize=True)
  variables = cases.init(quantizer)
  z = cases.latents(30)
  codes = cases.table(quantizer, variables)
  want = (z.astype(np.float64) @ codes.T).argmax(axis=-1)
  quantized, _ = cases.run(quantizer, variables, z)
  np.testing.assert_array_equal(quantized.indices, want)


def test_a_zero_latent_has_a_code_and_no_wild_gradient():
  quantizer = cases.CASES['vq'].make(l2_normalize=True)
  variables = cases.init(quantizer)
  z = jnp.zeros((3, D))
  loss, gradient = jax.value_and_grad(
    lambda z: cases.run(quantizer, variables, z)[0].loss
  )(z)
  assert jnp.isfinite(loss)
  np.testing.assert_array_equal(gradient, z)
  np.testing.assert_array_equal(normalization.l2_normalize(z), z)


def test_the_codes_of_moving_averages_stay_on_the_sphere():
  """Each is the direction of its sum of unit vectors, by hand."""
  quantizer = cases.CASES['ema_vq'].make(l2_normalize=True, decay=0.6)
  variables = cases.init(quantizer)
  np.testing.assert_allclose(
    norms(variables['codebook']['codebook']), 1, rtol=1e-5
  )
  for i in range(3):
    z = 3 * cases.latents(20, seed=i)
    before = variables['codebook']
    quantized, variables = cases.step(quantizer, variables, z)
    after = variables['codebook']
    u = z / norms(z)[:, None]
    for k in range(K):
      members = u[np.asarray(quantized.indices) == k]
      total = 0.6 * before['cluster_sum'][k] + 0.4 * members.sum(axis=0)
      np.testing.assert_allclose(after['cluster_sum'][k], total, atol=1e-5)
      want = total / norms(total) if len(members) else before['codebook'][k]
      np.testing.assert_allclose(after['codebook'][k], want, atol=1e-5)


def test_vectors_that_cancel_leave_the_code_where_it_is():
  codes = jnp.eye(D)[:2]
  sums = jnp.stack([jnp.zeros(D), 2.0 * jnp.ones(D)])
  got = kmeans.mean_codes(sums, jnp.array([2.0, 4.0]), codes, spherical=True)
  np.testing.assert_array_equal(got[0], codes[0])
  np.testing.assert_allclose(got[1], np.full(D, 0.5), rtol=1e-6)


def test_spherical_kmeans_is_lloyds_on_the_sphere():
  z = cases.latents(300)
  z = z / norms(z)[:, None]

  def run(iterations):
    return jax.jit(
      lambda z: kmeans.kmeans(
        jax.random.key(0), z, K, iterations, spherical=True
      )
    )(z)[0]

  start = np.asarray(run(0), np.float64)
  nearest_code = (z @ start.T).argmax(axis=-1)
  sums = np.stack([z[nearest_code == k].sum(axis=0) for k in range(K)])
  got = run(1)
  np.testing.assert_allclose(got, sums / norms(sums)[:, None], atol=1e-5)
  np.testing.assert_allclose(norms(run(4)), 1, rtol=1e-5)


def test_factorized_is_vit_vqgans_with_revival():
  quantizer = quantizers.FactorizedVectorQuantizer(512)
  same = quantizers.VectorQuantizer(
    512,
    32,
    l2_normalize=True,
    dead_code_threshold=0.1,
    codebook_init=quantizer.codebook_init,
  )
  z = np.random.default_rng(0).normal(size=(60, 32)).astype(np.float32)
  variables = cases.init(quantizer)
  parameter = np.asarray(variables['params']['codebook'])
  np.testing.assert_allclose(parameter.std(), 1, atol=0.02)
  cases.assert_same(variables, cases.init(same))
  cases.assert_same(
    cases.run(quantizer, variables, z), cases.run(same, variables, z)
  )


@pytest.mark.parametrize('name', ['vq', 'ema_vq'])
def test_no_gradient_changes_the_length_of_a_latent(name):
  """Of output and loss alike; else the output could drive it up for ever."""
  quantizer = cases.CASES[name].make(l2_normalize=True)
  variables = cases.init(quantizer)
  z = 3 * jnp.asarray(cases.latents(20))

  def total(z):
    quantized, _ = cases.run(quantizer, variables, z)
    return jnp.sum(jnp.sin(3 * quantized.quantized)) + quantized.loss

  gradient = jax.grad(total)(z)
  assert jnp.abs(gradient).max() > 0.1
  np.testing.assert_allclose((gradient * z).sum(axis=-1), 0, atol=1e-4)
