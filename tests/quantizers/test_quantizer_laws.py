"""Laws that every quantizer obeys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.quantizers import cases
from tests.quantizers.cases import D
from tests.quantizers.cases import K


@cases.every
def test_codes_are_the_nearest_by_brute_force(make):
  quantizer = make()
  variables = cases.init(quantizer)
  z = cases.latents(7, 11)
  quantized, _ = cases.run(quantizer, variables, z)
  codes = cases.table(quantizer, variables)
  want = cases.distances(z, codes).argmin(axis=-1)
  assert quantized.indices.dtype == jnp.int32
  assert len(np.unique(want)) > K / 2
  np.testing.assert_array_equal(quantized.indices, want)
  np.testing.assert_array_equal(quantized.codes, codes[want])


@cases.every
def test_a_tie_goes_to_the_lowest_index(make):
  quantizer = make()
  codes = np.zeros((K, D), np.float32)
  codes[:, 0] = 2  # a far one, of which there are many
  codes[[3, 9]] = [0, 1, 0, 0]  # twice the same
  codes[5] = [0, -1, 0, 0]  # and one as far on the other side
  variables = cases.with_table(cases.init(quantizer), codes)
  z = jnp.array([[0, 3, 0, 0], [0, 0, 0, 0], [0, -3, 0, 0], [5, 0, 0, 0]])
  quantized, _ = cases.run(quantizer, variables, z.astype(jnp.float32))
  np.testing.assert_array_equal(quantized.indices, [3, 3, 5, 0])


@cases.every
def test_lookup_of_the_indices_is_the_codes_to_the_bit(make):
  quantizer = make()
  variables = cases.init(quantizer)
  quantized, _ = cases.run(quantizer, variables, 30 * cases.latents(5, 9))
  codes = cases.lookup(quantizer, variables, quantized.indices)
  np.testing.assert_array_equal(codes, quantized.codes)


@cases.every
def test_a_code_quantizes_to_itself(make):
  quantizer = make()
  variables = cases.init(quantizer)
  codes = cases.table(quantizer, variables)
  quantized, _ = cases.run(quantizer, variables, codes)
  np.testing.assert_array_equal(quantized.indices, np.arange(K))
  np.testing.assert_array_equal(quantized.codes, codes)
  assert quantized.loss == 0


@cases.every
@pytest.mark.parametrize('train', [False, True])
def test_the_gradient_passes_straight_through(make, train):
  quantizer = make()
  variables = cases.init(quantizer)
  z = cases.latents(6)

  def f(codes):
    return jnp.sum(jnp.sin(codes) * codes)

  def through(z):
    quantized, _ = cases.run(quantizer, variables, z, train=train)
    return f(quantized.codes), quantized.codes

  got, codes = jax.grad(through, has_aux=True)(z)
  np.testing.assert_array_equal(got, jax.grad(f)(codes))


@cases.every
@pytest.mark.parametrize('train', [False, True])
def test_the_commitment_pulls_the_latent_by_beta(make, train):
  """The gradient on z is that of beta mean (z - sg[e])^2 and nothing else."""
  quantizer = make()
  variables = cases.init(quantizer)
  z = cases.latents(6)

  def loss(z):
    quantized, _ = cases.run(quantizer, variables, z, train=train)
    return quantized.loss, quantized.codes

  got, codes = jax.grad(loss, has_aux=True)(z)
  want = cases.BETA * 2 * (z - codes) / z.size
  np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-8)


@cases.every
def test_no_gradient_flows_through_the_stats(make):
  quantizer = make()
  variables = cases.init(quantizer)

  def total(variables, z):
    quantized, _ = cases.run(quantizer, variables, z)
    return sum(quantized.stats.values())

  gradients = jax.grad(total, argnums=(0, 1), allow_int=True)(
    variables, cases.latents(6)
  )
  for leaf in jax.tree.leaves(gradients):
    if leaf.dtype != jax.dtypes.float0:
      np.testing.assert_array_equal(leaf, jnp.zeros_like(leaf))


@cases.every
def test_batch_stats_by_hand(make):
  quantizer = make()
  variables = cases.init(quantizer)
  codes = cases.table(quantizer, variables)
  chosen = np.array([0] * 8 + [3] * 4 + [7] * 3 + [15])
  quantized, _ = cases.run(quantizer, variables, codes[chosen].reshape(4, 4, D))
  p = np.array([8, 4, 3, 1]) / 16
  np.testing.assert_allclose(
    quantized.stats['batch_perplexity'], np.exp(-(p * np.log(p)).sum()), 1e-6
  )
  assert quantized.stats['batch_usage'] == 4 / K


@cases.every
def test_perplexity_lies_between_one_and_the_codebook(make):
  quantizer = make()
  variables = cases.init(quantizer)
  codes = cases.table(quantizer, variables)
  for chosen, perplexity, usage in [
    (np.arange(K), K, 1),
    (np.full(K, 5), 1, 1 / K),
  ]:
    quantized, _ = cases.run(quantizer, variables, codes[chosen])
    np.testing.assert_allclose(
      quantized.stats['batch_perplexity'], perplexity, rtol=1e-5
    )
    np.testing.assert_allclose(quantized.stats['batch_usage'], usage)


@cases.every
@pytest.mark.parametrize('shape', [(), (12,), (3, 4), (2, 2, 3), (1, 3, 2, 2)])
def test_leading_axes_do_not_matter(make, shape):
  quantizer = make()
  variables = cases.init(quantizer)
  z = cases.latents(12)[: np.prod(shape, dtype=int)]
  flat, _ = cases.run(quantizer, variables, z)
  shaped, _ = cases.run(quantizer, variables, z.reshape(*shape, D))
  assert shaped.indices.shape == shape
  np.testing.assert_array_equal(shaped.indices.ravel(), flat.indices)
  np.testing.assert_array_equal(shaped.codes.reshape(-1, D), flat.codes)
  np.testing.assert_allclose(shaped.loss, flat.loss, rtol=1e-6)


@cases.every
@pytest.mark.parametrize('train', [False, True])
def test_an_empty_batch_costs_nothing(make, train):
  quantizer = make()
  variables = cases.init(quantizer)
  z = jnp.zeros((0, 5, 5, D))
  quantized, after = cases.run(quantizer, variables, z, train=train)
  assert quantized.indices.shape == (0, 5, 5)
  assert quantized.codes.shape == z.shape
  assert quantized.loss == 0
  assert all(np.isfinite(s) for s in quantized.stats.values())
  cases.assert_same(after, variables)


@cases.every
@pytest.mark.parametrize('shape', [(2, 5), (2, 1), (D, 3), ()])
def test_a_wrong_width_is_named(make, shape):
  quantizer = make()
  variables = cases.init(quantizer)
  with pytest.raises(ValueError, match=f'width {D}') as error:
    cases.run(quantizer, variables, jnp.zeros(shape))
  assert str(shape) in str(error.value)


@cases.every
def test_bfloat16_latents_get_the_codes_of_their_float32_upcast(make):
  quantizer = make()
  variables = cases.init(quantizer)
  z = jnp.asarray(cases.latents(500), jnp.bfloat16)
  # Codes much closer to one another than bfloat16 can tell apart.
  codes = 1 + 1e-3 * cases.latents(K, seed=1)
  for tried in [variables, cases.with_table(variables, codes)]:
    half, _ = cases.run(quantizer, tried, z)
    full, _ = cases.run(quantizer, tried, z.astype(jnp.float32))
    assert half.codes.dtype == half.loss.dtype == jnp.float32
    cases.assert_same(half, full)


@cases.every
def test_state_lives_in_codebook_and_all_else_in_params(make):
  """No third collection, and what a gradient trains is never in 'codebook'."""
  quantizer = make()
  variables = cases.init(quantizer)
  assert set(variables) <= {'params', 'codebook'}

  def loss(state, params):
    quantized = quantizer.apply({**params, **state}, cases.latents(6))
    return quantized.loss + jnp.sum(quantized.codes)

  state = {n: v for n, v in variables.items() if n == 'codebook'}
  params = {n: v for n, v in variables.items() if n == 'params'}
  gradients = jax.grad(loss, allow_int=True)(state, params)
  for leaf in jax.tree.leaves(gradients):
    if leaf.dtype != jax.dtypes.float0:
      assert not leaf.any()


@cases.every
def test_training_traces_once_and_keeps_types(make):
  quantizer = make()
  traces = []

  @jax.jit
  def train(variables, z):
    traces.append(z.shape)
    quantized, updated = quantizer.apply(
      variables, z, train=True, mutable=['codebook']
    )
    return {**variables, **updated}, quantized.loss

  variables = cases.init(quantizer)
  before = jax.tree.map(lambda x: (x.shape, x.dtype), variables)
  for i in range(3):
    variables, _ = train(variables, cases.latents(8, seed=i))
  assert len(traces) == 1
  assert jax.tree.map(lambda x: (x.shape, x.dtype), variables) == before
