"""Laws that every quantizer obeys; `references` implements each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.quantizers import cases
from tests.quantizers.cases import D
from tests.quantizers.cases import K
from vq_jax.config import registry

# One shape for all, since compiling is what takes time.
ROWS = (7, 11)


def settled(case):
  """A quantizer whose codes are quantized to themselves."""
  quantizer = case.make()
  return quantizer, case.reference.settle(cases.init(quantizer))


def trained_once(case):
  """A quantizer after a first step, which starts what starts by data."""
  quantizer = case.make()
  variables = cases.init(quantizer)
  return quantizer, cases.step(quantizer, variables, cases.latents(*ROWS))[1]


def some_indices(quantizer):
  """Indices [*ROWS, *index_shape], of which one comes often."""
  rng = np.random.default_rng(0)
  size = (*ROWS, *quantizer.index_shape)
  sampled = rng.integers(0, quantizer.codebook_size, size)
  return np.where(rng.random(size) < 0.3, sampled[:1, :1], sampled).astype(
    np.int32
  )


@cases.every
def test_codes_are_the_nearest_by_brute_force(case):
  quantizer, variables = trained_once(case)
  z = cases.latents(*ROWS)
  quantized, _ = cases.run(quantizer, variables, z)
  want = case.reference.choose(quantizer, variables, z)
  assert quantized.indices.dtype == jnp.int32
  assert len(np.unique(want)) > K / 3
  np.testing.assert_array_equal(quantized.indices, want)


@cases.searching
def test_a_tie_goes_to_the_lowest_index(case):
  quantizer = case.make()
  codes = np.zeros((K, D), np.float32)
  codes[:, 0] = 2  # a far one, of which there are many
  codes[[3, 9]] = [0, 1, 0, 0]  # twice the same
  codes[5] = [0, -1, 0, 0]  # and one as far on the other side
  variables = cases.with_table(cases.init(quantizer), codes)
  z = jnp.array([[0, 3, 0, 0], [0, 0, 0, 0], [0, -3, 0, 0], [5, 0, 0, 0]])
  quantized, _ = cases.run(quantizer, variables, z.astype(jnp.float32))
  np.testing.assert_array_equal(quantized.indices, [3, 3, 5, 0])


@cases.every
@pytest.mark.parametrize('train', [False, True])
def test_lookup_of_the_indices_is_the_codes_to_the_bit(case, train):
  """In training by the codebook that the step found."""
  quantizer, variables = trained_once(case)
  z = cases.latents(*ROWS)
  quantized, _ = cases.run(quantizer, variables, z, train=train)
  codes = cases.lookup(quantizer, variables, quantized.indices)
  np.testing.assert_array_equal(codes, quantized.quantized)
  assert np.isfinite(codes).all()


@cases.every
def test_a_code_quantizes_to_itself(case):
  quantizer, variables = settled(case)
  indices = some_indices(quantizer)
  codes = np.asarray(cases.lookup(quantizer, variables, indices))
  z = case.reference.get_latents(codes)
  quantized, _ = cases.run(quantizer, variables, z)
  np.testing.assert_array_equal(quantized.indices, indices)
  np.testing.assert_array_equal(quantized.quantized, codes)
  if quantizer.index_shape == ():  # of several, the first leave a rest
    assert quantized.stats.get('commitment_loss', 0) < 1e-12


@cases.in_both_modes
def test_the_gradient_of_the_codes(case, train):
  """By default it passes straight through."""
  quantizer, variables = trained_once(case)
  z = jnp.asarray(cases.latents(*ROWS))
  quantized, got = cases.derivatives(quantizer, variables, z, train)
  flat = quantized.quantized.reshape(-1, D)

  def surrogate(x):
    return case.reference.surrogate(
      quantizer, variables, x, z.reshape(-1, D), flat
    )

  _, back = jax.vjp(surrogate, z.reshape(-1, D))
  want = back(jnp.cos(flat))[0].reshape(z.shape)
  np.testing.assert_allclose(got['codes'][1], want, rtol=1e-4, atol=1e-5)


@cases.in_both_modes
def test_the_gradient_of_the_loss_on_the_latents(case, train):
  """By default w mean (z - sg[e])^2 and nothing else."""
  quantizer, variables = trained_once(case)
  z = jnp.asarray(cases.latents(*ROWS))
  quantized, got = cases.derivatives(quantizer, variables, z, train)

  def by_hand(x):
    return case.reference.loss(quantizer, variables, x, z, quantized.quantized)

  want = jax.grad(by_hand)(z)
  np.testing.assert_allclose(got['loss'][1], want, rtol=1e-4, atol=1e-6)


@cases.every
def test_gradients_reach_the_parameters_they_should(case):
  """The output moves a table only where its choice is soft."""
  quantizer, variables = trained_once(case)
  _, got = cases.derivatives(quantizer, variables, cases.latents(*ROWS), False)

  def names(tree):
    leaves = jax.tree_util.tree_leaves_with_path(tree.get('params', {}))
    return {path[-1].key for path, leaf in leaves if np.any(leaf)}

  known = names(jax.tree.map(jnp.ones_like, variables))
  assert names(got['loss'][0]) == case.reference.trained_by_loss() & known
  assert names(got['codes'][0]) == case.reference.trained_by_codes() & known


@cases.every
def test_state_lives_in_codebook_and_all_else_in_params(case):
  """No third collection, and what a gradient trains is never in 'codebook'."""
  quantizer, variables = trained_once(case)
  assert set(variables) <= {'params', 'codebook'}
  _, got = cases.derivatives(quantizer, variables, cases.latents(*ROWS), False)
  for of in got:
    for leaf in jax.tree.leaves(got[of][0].get('codebook', {})):
      assert not leaf.any()


@cases.every
def test_no_gradient_flows_through_the_stats(case):
  quantizer, variables = trained_once(case)
  _, got = cases.derivatives(quantizer, variables, cases.latents(*ROWS), False)
  for leaf in jax.tree.leaves(got['stats']):
    assert not leaf.any()


@cases.every
def test_stats_are_named_alike_in_training(case):
  quantizer, variables = trained_once(case)
  z = cases.latents(*ROWS)
  seen = [cases.run(quantizer, variables, z, train=t)[0] for t in (False, True)]
  assert set(seen[0].stats) == set(seen[1].stats)
  for stat in jax.tree.leaves([s.stats for s in seen]):
    assert stat.shape == () and stat.dtype == jnp.float32


@cases.every
def test_batch_stats_by_hand(case):
  """Each codebook is counted by itself."""
  quantizer, variables = settled(case)
  indices = some_indices(quantizer)
  codes = np.asarray(cases.lookup(quantizer, variables, indices))
  z = case.reference.get_latents(codes)
  quantized, _ = cases.run(quantizer, variables, z)
  perplexities, usages = [], []
  for column in indices.reshape(np.prod(ROWS), -1).T:
    counts = np.bincount(column, minlength=quantizer.codebook_size)
    p = counts[counts > 0] / np.prod(ROWS)
    perplexities.append(np.exp(-(p * np.log(p)).sum()))
    usages.append((counts > 0).mean())
  stats = quantized.stats
  np.testing.assert_allclose(
    stats['batch_perplexity'], np.mean(perplexities), rtol=1e-5
  )
  np.testing.assert_allclose(stats['batch_usage'], np.mean(usages), rtol=1e-5)


@cases.searching
def test_perplexity_lies_between_one_and_the_codebook(case):
  quantizer = case.make()
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
def test_leading_axes_do_not_matter(case):
  quantizer = case.make()
  variables = cases.init(quantizer)
  z = cases.latents(*ROWS)
  flat, _ = cases.run(quantizer, variables, z)
  shaped, _ = cases.run(quantizer, variables, z.reshape(1, 7, 1, 11, D))
  assert shaped.indices.shape == (1, 7, 1, 11, *quantizer.index_shape)
  np.testing.assert_array_equal(shaped.indices.ravel(), flat.indices.ravel())
  np.testing.assert_array_equal(
    shaped.quantized.ravel(), flat.quantized.ravel()
  )
  np.testing.assert_allclose(shaped.loss, flat.loss, rtol=1e-5, atol=1e-7)


@cases.every
@pytest.mark.parametrize('train', [False, True])
def test_a_single_vector_will_do(case, train):
  """Without any leading axis."""
  quantizer = case.make()
  quantized, _ = jax.eval_shape(
    lambda v: cases.run(quantizer, v, jnp.zeros(D), train),
    cases.init(quantizer),
  )
  assert quantized.indices.shape == quantizer.index_shape
  assert quantized.quantized.shape == (D,)


@cases.every
@pytest.mark.parametrize('train', [False, True])
def test_an_empty_batch_costs_nothing(case, train):
  quantizer = case.make()
  variables = cases.init(quantizer)
  z = jnp.zeros((0, 5, 5, D))
  quantized, after = cases.run(quantizer, variables, z, train=train)
  assert quantized.indices.shape == (0, 5, 5, *quantizer.index_shape)
  assert quantized.quantized.shape == z.shape
  assert quantized.loss == 0
  assert all(np.isfinite(s) for s in quantized.stats.values())
  cases.assert_same(after, variables)


@cases.every
@pytest.mark.parametrize('shape', [(2, 5), (2, 1), (D, 3), ()])
def test_a_wrong_width_is_named(case, shape):
  quantizer = case.make()
  variables = cases.init(quantizer)
  with pytest.raises(ValueError, match=f'width {D}') as error:
    jax.eval_shape(quantizer.apply, variables, jnp.zeros(shape))
  assert str(shape) in str(error.value)


@cases.every
def test_code_dim_codebook_size_and_index_shape_need_no_variables(case):
  quantizer = case.make()
  z = cases.latents(*ROWS)
  quantized, _ = cases.run(quantizer, cases.init(quantizer), z)
  assert quantizer.code_dim == D
  assert quantized.indices.shape == (*ROWS, *quantizer.index_shape)
  assert quantized.indices.max() < quantizer.codebook_size
  hash(quantizer)


@cases.every
def test_bfloat16_latents_get_the_codes_of_their_float32_upcast(case):
  quantizer = case.make()
  variables = cases.init(quantizer)
  z = jnp.asarray(cases.latents(*ROWS), jnp.bfloat16)
  # Codes much closer to one another than bfloat16 can tell apart.
  rng = np.random.default_rng(1)
  close = cases.with_table(
    variables,
    lambda shape: (1 + 1e-3 * rng.normal(size=shape)).astype(np.float32),
  )
  for tried in [variables, close]:
    half, _ = cases.run(quantizer, tried, z)
    full, _ = cases.run(quantizer, tried, z.astype(jnp.float32))
    assert half.quantized.dtype == half.loss.dtype == jnp.float32
    cases.assert_same(half, full)


@cases.every
def test_only_training_moves_the_state(case):
  quantizer, variables = trained_once(case)
  z = cases.latents(*ROWS, seed=1)
  cases.assert_same(cases.run(quantizer, variables, z)[1], variables)
  _, after = cases.step(quantizer, variables, z)
  cases.assert_same(after.get('params', {}), variables.get('params', {}))
  moved = jax.tree.map(
    lambda a, b: (a != b).any(),
    after.get('codebook', {}),
    variables.get('codebook', {}),
  )
  assert any(jax.tree.leaves(moved)) == case.learns


@cases.every
def test_training_keeps_types_so_that_it_is_traced_once(case):
  quantizer = case.make()
  z = cases.latents(*ROWS)
  before = jax.eval_shape(lambda v: v, cases.init(quantizer))
  _, after = jax.eval_shape(
    lambda v: cases.step(quantizer, v, z), cases.init(quantizer)
  )

  def types(tree):
    return jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), tree)

  assert types(after) == types(before)


HALF_PRECISION = {
  name: c for name, c in cases.CASES.items() if hasattr(c.make(), 'param_dtype')
}


@cases.over(HALF_PRECISION)
def test_bfloat16_parameters_quantize_in_float32(case):
  quantizer = case.make(param_dtype=jnp.bfloat16)
  variables = cases.init(quantizer)
  for leaf in jax.tree.leaves(variables['params']):
    assert leaf.dtype == jnp.bfloat16
  full = {
    **variables,
    'params': jax.tree.map(
      lambda x: x.astype(jnp.float32), variables['params']
    ),
  }
  z = cases.latents(*ROWS)
  got, _ = cases.run(quantizer, variables, z)
  want, _ = cases.run(case.make(), full, z)
  assert got.quantized.dtype == jnp.float32
  cases.assert_same(got, want)


TABLES = {
  name: c
  for name, c in cases.CASES.items()
  if hasattr(c.make(), 'codebook_init')
}


@cases.over(TABLES)
def test_codebook_init_initialises_the_codebook(case):
  quantizer = case.make(codebook_init=jax.nn.initializers.constant(0.5))
  np.testing.assert_allclose(
    cases.table(quantizer, cases.init(quantizer)), 0.5, rtol=1e-6
  )


@pytest.mark.parametrize(
  ('name', 'parameter', 'moves'),
  [
    ('vq', 'codebook', False),
    ('simvq', 'linear', True),
    ('ibq', 'codebook', True),
    ('gumbel', 'to_logits', True),
  ],
)
def test_which_train_codes_that_no_latent_chose(name, parameter, moves):
  """At the default settings. Of the others, revival moves them, if anything."""
  quantizer = registry.REGISTRY['quantizer'][name](codebook_size=K, code_dim=D)
  variables = cases.init(quantizer)
  z = cases.latents(9) / 10 + 1
  quantized, gradients = cases.derivatives(quantizer, variables, z, False)
  on_codes, on_loss = (gradients[n][0]['params'] for n in ('codes', 'loss'))
  dead = ~np.isin(np.arange(K), quantized.indices)
  assert dead.any()
  total = jax.tree.map(jnp.add, on_codes, on_loss)[parameter]
  rows = {
    'vq': lambda: total[dead],
    'ibq': lambda: total[dead],
    'gumbel': lambda: total['kernel'][:, dead],
    'simvq': lambda: variables['codebook']['codebook'] @ total['kernel'],
  }[name]()
  assert (np.abs(rows) > 0).all() == moves
