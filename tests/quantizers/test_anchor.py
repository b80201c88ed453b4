"""Laws of k-means and revival for a codebook that the gradient trains."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.quantizers import cases
from tests.quantizers.cases import D
from tests.quantizers.cases import K

make = cases.CASES['vq'].make
Z = 5 + 0.1 * cases.latents(200)  # far from any random table


def is_a_row(codes, z):
  return np.isclose(np.asarray(codes)[:, None], z, atol=1e-5).all(-1).any(-1)


def unit(z):
  return z / np.linalg.norm(z, axis=-1, keepdims=True)


def test_the_plain_quantizer_has_no_state():
  assert set(cases.init(make())) == {'params'}


@pytest.mark.parametrize(
  'option', [{'kmeans_iterations': 0}, {'dead_code_threshold': 0.5}]
)
def test_either_option_brings_the_anchor_which_starts_at_nothing(option):
  quantizer = make(**option)
  variables = cases.init(quantizer)
  assert set(variables['codebook']) == {'anchor', 'cluster_size', 'updates'}
  np.testing.assert_array_equal(
    cases.table(quantizer, variables), variables['params']['codebook']
  )


@pytest.mark.parametrize('l2_normalize', [False, True])
def test_kmeans_puts_the_codes_onto_the_first_batch(l2_normalize):
  """With no rounds they are its vectors; the parameter stays."""
  quantizer = make(kmeans_iterations=0, l2_normalize=l2_normalize)
  variables = cases.init(quantizer)
  z = cases.latents(40)
  quantized, after = cases.step(quantizer, variables, z)
  cases.assert_same(after['params'], variables['params'])
  codes = cases.table(quantizer, after)
  assert is_a_row(codes, unit(z) if l2_normalize else z).all()
  assert len(np.unique(codes, axis=0)) == K
  np.testing.assert_array_equal(  # and this very batch was quantized by them
    quantized.quantized, codes[np.asarray(quantized.indices)]
  )


def test_kmeans_lowers_the_loss_and_happens_once():
  on = make(kmeans_iterations=3)
  variables = cases.init(on)
  first, variables = cases.step(on, variables, Z)
  plain, _ = cases.step(make(), {'params': variables['params']}, Z)
  assert first.loss < 1e-2 * plain.loss
  before = cases.table(on, variables)
  _, variables = cases.step(on, variables, -Z, seed=1)
  np.testing.assert_array_equal(cases.table(on, variables), before)
  assert variables['codebook']['updates'] == 2


def test_the_gradient_goes_on_from_the_anchor():
  """It is that of a plain table with these codes."""
  quantizer = make(kmeans_iterations=3)
  _, variables = cases.step(quantizer, cases.init(quantizer), Z)
  codes = cases.table(quantizer, variables)

  def gradient(quantizer, variables):
    def loss(params):
      return quantizer.apply({**variables, 'params': params}, Z).loss

    return jax.jit(jax.grad(loss))(variables['params'])['codebook']

  got = gradient(quantizer, variables)
  want = gradient(make(), {'params': {'codebook': codes}})
  assert np.asarray(want).any()
  np.testing.assert_allclose(got, want, atol=1e-7)


@pytest.mark.parametrize('l2_normalize', [False, True])
def test_revival_moves_dead_codes_onto_the_batch_and_no_others(l2_normalize):
  quantizer = make(
    dead_code_threshold=0.5, decay=0.5, l2_normalize=l2_normalize
  )
  variables = cases.init(quantizer)
  variables['codebook']['cluster_size'] = jnp.where(
    jnp.arange(K) % 2, 0.01, 100.0
  )
  before = cases.table(quantizer, variables)
  z = cases.latents(6)
  quantized, after = cases.step(quantizer, variables, z)
  chosen = np.isin(np.arange(K), quantized.indices)
  dead = (np.arange(K) % 2 == 1) & ~chosen
  codes = cases.table(quantizer, after)
  assert is_a_row(codes[dead], unit(z) if l2_normalize else z).all()
  np.testing.assert_array_equal(codes[~dead], before[~dead])
  assert quantized.stats['revived'] == dead.sum() > 0
  np.testing.assert_allclose(after['codebook']['cluster_size'][dead], 6 / K)


def test_the_count_is_a_moving_average():
  quantizer = make(dead_code_threshold=1e-9, decay=0.8)
  variables = cases.init(quantizer)
  size = np.ones(K)
  for i in range(3):
    quantized, variables = cases.step(
      quantizer, variables, cases.latents(40, seed=i)
    )
    counts = np.bincount(quantized.indices, minlength=K)
    size = 0.8 * size + 0.2 * counts
    np.testing.assert_allclose(
      variables['codebook']['cluster_size'], size, rtol=1e-5
    )


@pytest.mark.parametrize('until', [0, 2])
def test_revival_ends(until):
  quantizer = make(dead_code_threshold=0.9, revive_until_step=until, decay=0.1)
  variables = cases.init(quantizer)
  revived = []
  for i in range(4):
    z = cases.latents(40, seed=i) + 20.0 * i  # some always fall behind
    quantized, variables = cases.step(quantizer, variables, z, seed=i)
    revived.append(float(quantized.stats['revived']) > 0)
  assert revived == [i < until for i in range(4)]


def test_a_half_precision_parameter_still_lands_on_the_vector():
  quantizer = make(kmeans_iterations=0, param_dtype=jnp.bfloat16)
  variables = cases.init(quantizer)
  assert variables['params']['codebook'].dtype == jnp.bfloat16
  _, after = cases.step(quantizer, variables, Z)
  assert is_a_row(cases.table(quantizer, after), Z).all()


def test_evaluation_needs_no_rng_and_no_mutable_state():
  quantizer = make(kmeans_iterations=2, dead_code_threshold=0.5)
  variables = cases.init(quantizer)
  got = jax.jit(quantizer.apply)(variables, Z)
  cases.assert_same(got, cases.run(quantizer, variables, Z)[0])


def test_initialising_with_train_learns_nothing():
  quantizer = make(kmeans_iterations=2, dead_code_threshold=0.5)
  got = jax.jit(lambda z: quantizer.init(jax.random.key(0), z, train=True))(Z)
  cases.assert_same(got, cases.init(quantizer))
  assert Z.shape[-1] == D
