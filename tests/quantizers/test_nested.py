"""Laws of quantizers of quantizers: levels and groups."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.quantizers import cases
from tests.quantizers.cases import D
from tests.quantizers.cases import K
from vq_jax import quantizers

Z = cases.latents(40)
VQ = quantizers.VectorQuantizer(K, D)
EMA = quantizers.EMAVectorQuantizer(K, D, kmeans_iterations=2, decay=0.5)
residual = functools.partial(quantizers.ResidualQuantizer, EMA)
# Of three levels, as many are kept as the key samples.
DROPPING = residual(3, level_dropout=1.0)


def of(variables, name):
  return {collection: tree[name] for collection, tree in variables.items()}


def kept_levels(quantized):
  """How many levels the batch kept; the others must all be at -1."""
  kept = np.asarray(quantized.indices >= 0).reshape(-1, 3)
  assert (kept == kept[:1]).all()
  return int(kept[0].sum())


@functools.cache
def steps():
  """Quantized and state before and after, by how many levels were kept."""
  variables = cases.init(DROPPING)
  for seed in range(3):  # all levels have learned something
    _, variables = cases.step(residual(3), variables, Z, seed)
  found = {}
  for seed in range(20):
    quantized, after = cases.step(DROPPING, variables, Z, seed)
    found[kept_levels(quantized)] = quantized, variables, after
  return found


def test_levels_by_hand():
  """Each quantizes the rest; codes and losses add up, stats are means."""
  quantizer = quantizers.ResidualQuantizer(VQ, 3)
  variables = cases.init(quantizer)
  quantized, _ = cases.run(quantizer, variables, Z)
  rest, codes, parts = Z, 0, []
  for g in range(3):
    part, _ = cases.run(VQ, of(variables, f'level_{g}'), rest)
    np.testing.assert_array_equal(quantized.indices[:, g], part.indices)
    codes = codes + part.quantized
    rest = Z - codes
    parts.append(part)
  np.testing.assert_array_equal(quantized.quantized, codes)
  np.testing.assert_allclose(
    quantized.loss, sum(p.loss for p in parts), rtol=1e-6
  )
  for name, stat in quantized.stats.items():
    want = np.mean([p.stats[name] for p in parts])
    np.testing.assert_allclose(stat, want, rtol=1e-5)


def test_every_level_has_its_own_table():
  variables = cases.init(residual(3))
  tables = [variables['codebook'][f'level_{g}']['codebook'] for g in range(3)]
  assert (tables[0] != tables[1]).any() and (tables[1] != tables[2]).any()


def test_more_levels_leave_a_smaller_error():
  """Of one quantizer, by the codes of its first levels alone."""
  quantizer = residual(4)
  variables = cases.init(quantizer)
  for seed in range(8):
    _, variables = cases.step(quantizer, variables, Z, seed)
  indices = np.asarray(cases.run(quantizer, variables, Z)[0].indices)
  errors = []
  for levels in range(5):
    first = np.where(np.arange(4) < levels, indices, -1)
    codes = cases.lookup(quantizer, variables, first)
    errors.append(np.square(Z - codes).mean())
  np.testing.assert_allclose(errors[0], np.square(Z).mean(), rtol=1e-6)
  assert (np.diff(errors) < 0).all()
  assert errors[-1] < 0.1 * errors[1]


def test_each_number_of_levels_is_sampled():
  assert set(steps()) == {1, 2}


@pytest.mark.parametrize('kept', [1, 2])
def test_a_dropped_level_has_no_output_and_no_gradient(kept):
  quantized, before, after = steps()[kept]
  full, _ = cases.run(residual(3), before, Z)
  indices = np.asarray(full.indices)
  np.testing.assert_array_equal(quantized.indices[:, :kept], indices[:, :kept])
  parts = np.where(np.arange(3) < kept, indices, -1)
  np.testing.assert_array_equal(
    quantized.quantized, cases.lookup(DROPPING, before, parts)
  )
  for g in range(3):
    state = [of(v, f'level_{g}')['codebook'] for v in (before, after)]
    if g >= kept:
      cases.assert_same(*state)
    else:
      assert state[1]['updates'] == state[0]['updates'] + 1


@pytest.mark.parametrize('kept', [1, 2])
def test_loss_and_stats_are_those_of_the_kept_levels(kept):
  quantized, before, _ = steps()[kept]
  rest, parts = Z, []
  for g in range(kept):
    part, _ = cases.run(EMA, of(before, f'level_{g}'), rest)
    rest = rest - part.quantized
    parts.append(part)
  np.testing.assert_allclose(
    quantized.loss, sum(p.loss for p in parts), rtol=1e-5
  )
  for name in ['batch_usage', 'batch_perplexity', 'commitment_loss']:
    want = np.mean([p.stats[name] for p in parts])
    np.testing.assert_allclose(quantized.stats[name], want, rtol=1e-4)


@pytest.mark.parametrize('seed', range(4))
def test_with_levels_dropped_the_gradient_still_passes_once(seed):
  variables = steps()[1][1]

  def through(z):
    quantized, _ = cases.step(DROPPING, variables, z, seed)
    return jnp.sum(jnp.sin(quantized.quantized)), quantized.quantized

  got, codes = jax.grad(through, has_aux=True)(Z)
  np.testing.assert_allclose(got, jnp.cos(codes), rtol=1e-4, atol=1e-6)


def test_a_soft_choice_passes_the_mean_gradient_of_the_levels():
  quantizer = quantizers.ResidualQuantizer(quantizers.FSQ((5, 5, 5, 5)), 2)
  got = jax.grad(lambda z: cases.run(quantizer, {}, z)[0].quantized.sum())(Z)
  fsq = quantizers.FSQ((5, 5, 5, 5))

  def slope(z):
    return jax.grad(lambda z: cases.run(fsq, {}, z)[0].quantized.sum())(z)

  rest = Z - cases.run(fsq, {}, Z)[0].quantized
  np.testing.assert_allclose(got, (slope(Z) + slope(rest)) / 2, rtol=1e-5)


def test_the_frequency_and_the_number_of_dropped_levels():
  """Half of the batches lose levels; four levels then keep 2 or 3."""
  quantizer = quantizers.ResidualQuantizer(
    quantizers.FSQ((3, 3)), 4, level_dropout=0.5, min_levels=2
  )

  @jax.jit
  @jax.vmap
  def kept(key):
    quantized = quantizer.apply(
      {}, jnp.zeros((1, 2)), train=True, rngs={'code': key}
    )
    return (quantized.indices >= 0).sum()

  counts = np.bincount(kept(jax.random.split(jax.random.key(0), 4000)))
  np.testing.assert_allclose(counts / 4000, [0, 0, 0.25, 0.25, 0.5], atol=0.03)


def test_nothing_is_dropped_outside_of_training():
  quantized, _ = cases.run(DROPPING, cases.init(DROPPING), Z)
  assert kept_levels(quantized) == 3


def test_dropped_levels_do_not_lower_the_usage():
  quantized, *_ = steps()[1]
  used = len(np.unique(quantized.indices[:, 0]))
  np.testing.assert_allclose(quantized.stats['batch_usage'], used / K)


@pytest.mark.parametrize(
  'fields',
  [
    {'levels': 0},
    {'levels': 2, 'level_dropout': 0.5, 'min_levels': 0},
    {'levels': 2, 'level_dropout': 0.5, 'min_levels': 2},
  ],
)
def test_wrong_levels_are_named(fields):
  with pytest.raises(ValueError, match='levels'):
    cases.init(residual(**fields))


def test_groups_are_quantized_each_by_itself():
  inner = quantizers.VectorQuantizer(K, D // 2)
  quantizer = quantizers.GroupedQuantizer(inner, 2)
  variables = cases.init(quantizer)
  quantized, _ = cases.run(quantizer, variables, Z)
  parts = [
    cases.run(inner, of(variables, f'group_{g}'), Z[:, 2 * g : 2 * g + 2])[0]
    for g in range(2)
  ]
  for g, part in enumerate(parts):
    np.testing.assert_array_equal(quantized.indices[:, g], part.indices)
    np.testing.assert_array_equal(
      quantized.quantized[:, 2 * g : 2 * g + 2], part.quantized
    )
  np.testing.assert_allclose(
    quantized.loss, (parts[0].loss + parts[1].loss) / 2, rtol=1e-6
  )


def test_groups_make_a_product_of_codes():
  inner = quantizers.VectorQuantizer(3, D // 2)
  quantizer = quantizers.GroupedQuantizer(inner, 2)
  variables = cases.init(quantizer)
  pairs = jnp.array([[a, b] for a in range(3) for b in range(3)])
  codes = np.asarray(cases.lookup(quantizer, variables, pairs))
  assert len(np.unique(codes, axis=0)) == 9
  np.testing.assert_array_equal(codes[:3, :2], codes[[0] * 3, :2])


def test_wrong_groups_are_named():
  with pytest.raises(ValueError, match='groups must be a whole .* 1; got 0'):
    quantizers.GroupedQuantizer(VQ, 0)


def test_nested_indices_have_the_outer_axis_first():
  grouped = quantizers.GroupedQuantizer(
    quantizers.EMAVectorQuantizer(K, D // 2), 2
  )
  quantizer = quantizers.ResidualQuantizer(grouped, 3)
  assert quantizer.index_shape == (3, 2)
  variables = cases.init(quantizer)
  quantized, _ = cases.run(quantizer, variables, Z)
  level, _ = cases.run(grouped, of(variables, 'level_0'), Z)
  np.testing.assert_array_equal(quantized.indices[:, 0], level.indices)
