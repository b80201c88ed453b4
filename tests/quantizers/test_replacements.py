"""Laws of k-means and revival for a codebook trained by gradient descent."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.quantizers import cases
from tests.quantizers.cases import D
from tests.quantizers.cases import K
from vq_jax import quantizers

make = cases.CASES['vq'].make
Z = 5 + 0.1 * cases.latents(200)  # far from any random table


def is_a_row(codes, z):
  return np.isclose(np.asarray(codes)[:, None], z, atol=1e-5).all(-1).any(-1)


def unit(z):
  return z / np.linalg.norm(z, axis=-1, keepdims=True)


@functools.partial(jax.jit, static_argnums=0)
def descent(quantizer, variables, z):
  """The gradient of the loss on the parameters."""

  def loss(params):
    return quantizer.apply({**variables, 'params': params}, z).loss

  return jax.grad(loss)(variables['params'])


def test_the_plain_quantizer_has_no_state():
  assert set(cases.init(make())) == {'params'}


@pytest.mark.parametrize(
  'option', [{'kmeans_iterations': 0}, {'dead_code_threshold': 0.5}]
)
def test_kmeans_or_revival_adds_state_and_replaces_no_code_at_first(option):
  quantizer = make(**option)
  variables = cases.init(quantizer)
  assert set(variables['codebook']) == {
    'replaced',
    'replacement',
    'cluster_size',
    'updates',
  }
  assert not variables['codebook']['replaced'].any()
  cases.assert_same(variables['params'], cases.init(make())['params'])


@pytest.mark.parametrize('l2_normalize', [False, True])
def test_kmeans_puts_the_codes_onto_the_first_batch(l2_normalize):
  """Without iterations the codes are its vectors, which are the parameter."""
  quantizer = make(kmeans_iterations=0, l2_normalize=l2_normalize)
  variables = cases.init(quantizer)
  z = cases.latents(40)
  quantized, after = cases.step(quantizer, variables, z)
  codes = np.asarray(after['params']['codebook'])
  assert is_a_row(codes, unit(z) if l2_normalize else z).all()
  assert len(np.unique(codes, axis=0)) == K
  np.testing.assert_allclose(cases.table(quantizer, after), codes, rtol=1e-6)
  np.testing.assert_allclose(  # this batch was already quantized by them
    quantized.quantized, codes[np.asarray(quantized.indices)], rtol=1e-6
  )


@pytest.mark.parametrize('l2_normalize', [False, True])
def test_the_parameter_is_the_codebook(l2_normalize):
  """Up to normalisation, through k-means, revival and gradient descent."""
  quantizer = make(
    kmeans_iterations=2,
    dead_code_threshold=0.9,
    decay=0.1,
    l2_normalize=l2_normalize,
  )
  variables = cases.init(quantizer)
  revived = 0.0
  for i in range(4):
    z = cases.latents(40, seed=i) * np.array([1, 1, 1, i + 1.0])
    quantized, after = cases.step(quantizer, variables, z, seed=i)
    revived += float(quantized.stats['revived'])
    grads = descent(quantizer, variables, z)
    params = jax.tree.map(lambda p, g: p - g, after['params'], grads)
    variables = {**after, 'params': params}
    assert not variables['codebook']['replaced'].any()
    codes = np.asarray(variables['params']['codebook'])
    np.testing.assert_allclose(
      cases.table(quantizer, variables),
      unit(codes) if l2_normalize else codes,
      rtol=1e-6,
    )
  assert revived > 0


def test_replacements_wait_until_they_are_applied():
  """As between the parts of an accumulated gradient."""
  quantizer = make(kmeans_iterations=0)
  variables = cases.init(quantizer)
  apply = jax.jit(
    lambda v, z: quantizer.apply(
      v,
      z,
      train=True,
      mutable=['codebook'],
      rngs={'code': jax.random.key(0)},
    )
  )
  z = cases.latents(40)
  _, updated = apply(variables, z)
  pending = {**variables, **updated}
  quantized, updated = apply(pending, z)
  assert updated['codebook']['replaced'].all()
  params, state = quantizers.apply_replacements(
    variables['params'], updated['codebook']
  )
  applied = {'params': params, 'codebook': state}
  assert is_a_row(params['codebook'], z).all()
  np.testing.assert_array_equal(
    quantized.quantized, params['codebook'][quantized.indices]
  )
  np.testing.assert_array_equal(
    cases.table(quantizer, pending), cases.table(quantizer, applied)
  )


def test_replacements_reach_nested_quantizers_and_nothing_else():
  state = {
    'level_0': {
      'replaced': jnp.array([True, False]),
      'replacement': jnp.ones((2, 3)),
      'updates': jnp.int32(1),
    },
    'moving': {'codebook': jnp.ones((2, 3))},
  }
  params = {
    'level_0': {'codebook': jnp.zeros((2, 3), jnp.bfloat16)},
    'dense': {'kernel': jnp.zeros((2, 3))},
  }
  got, cleared = quantizers.apply_replacements(
    {'model': params, 'head': jnp.zeros(1)}, {'model': state}
  )
  codebook = got['model']['level_0']['codebook']
  assert codebook.dtype == jnp.bfloat16
  np.testing.assert_array_equal(codebook, [[1, 1, 1], [0, 0, 0]])
  cases.assert_same(got['model']['dense'], params['dense'])
  cases.assert_same(got['head'], jnp.zeros(1))
  assert not cleared['model']['level_0']['replaced'].any()
  cases.assert_same(cleared['model']['moving'], state['moving'])


def test_kmeans_lowers_the_loss_and_happens_once():
  on = make(kmeans_iterations=3)
  variables = cases.init(on)
  plain, _ = cases.step(make(), {'params': variables['params']}, Z)
  first, variables = cases.step(on, variables, Z)
  assert first.loss < 1e-2 * plain.loss
  before = cases.table(on, variables)
  _, variables = cases.step(on, variables, -Z, seed=1)
  np.testing.assert_array_equal(cases.table(on, variables), before)
  assert variables['codebook']['updates'] == 2


def test_the_gradient_is_that_of_a_plain_codebook():
  quantizer = make(kmeans_iterations=3)
  _, variables = cases.step(quantizer, cases.init(quantizer), Z)
  got = descent(quantizer, variables, Z)['codebook']
  want = descent(make(), {'params': variables['params']}, Z)['codebook']
  assert np.asarray(want).any()
  np.testing.assert_array_equal(got, want)


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


def test_a_half_precision_parameter_gets_the_rounded_vector():
  quantizer = make(kmeans_iterations=0, param_dtype=jnp.bfloat16)
  variables = cases.init(quantizer)
  assert variables['params']['codebook'].dtype == jnp.bfloat16
  _, after = cases.step(quantizer, variables, Z)
  assert after['params']['codebook'].dtype == jnp.bfloat16
  assert is_a_row(after['params']['codebook'], jnp.bfloat16(Z)).all()


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
