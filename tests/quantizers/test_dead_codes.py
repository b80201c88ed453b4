"""Laws of dead-code revival."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.quantizers import cases
from tests.quantizers.cases import D
from tests.quantizers.cases import K
from vq_jax.quantizers import dead_codes

make = functools.partial(cases.CASES['ema_vq'].make, decay=0.5)
REVIVING = make(dead_code_threshold=0.1)


def is_a_row(codes, z):
  return (np.asarray(codes)[:, None] == np.asarray(z)).all(-1).any(-1)


def start(quantizer):
  """Codes 0-3 amid the batch, all others far away and hardly ever used."""
  variables = cases.init(quantizer)
  codes = np.full((K, D), 50, np.float32)
  codes += np.arange(K, dtype=np.float32)[:, None]
  codes[:4] = 0.5 * np.eye(D)
  variables = cases.with_table(variables, codes)
  size = jnp.where(jnp.arange(K) < 4, 10.0, 0.01)
  state = {
    **variables['codebook'],
    'cluster_size': size,
    'cluster_sum': size[:, None] * codes,
  }
  return {**variables, 'codebook': state}


def test_dead_codes_move_onto_the_batch_and_the_others_do_not():
  quantizer = REVIVING
  z = cases.latents(40)
  variables = start(quantizer)
  quantized, after = cases.step(quantizer, variables, z)
  _, plain = cases.step(make(), variables, z)
  codes = cases.table(quantizer, after)
  np.testing.assert_array_equal(is_a_row(codes, z), np.arange(K) >= 4)
  np.testing.assert_array_equal(codes[:4], cases.table(quantizer, plain)[:4])
  assert quantized.stats['revived'] == K - 4
  assert len(np.unique(codes[4:], axis=0)) > 4


def test_a_revived_code_has_its_fair_share_and_lives_on():
  """Its averages are those of a code in use, so the next step leaves it."""
  quantizer = REVIVING
  z = cases.latents(40)
  _, after = cases.step(quantizer, start(quantizer), z)
  state = after['codebook']
  np.testing.assert_allclose(state['cluster_size'][4:], 40 / K)
  np.testing.assert_allclose(
    state['cluster_sum'][4:], state['codebook'][4:] * 40 / K, rtol=1e-6
  )
  far = jnp.full((40, D), -100.0)
  again, later = cases.step(quantizer, after, far, seed=1)
  assert again.stats['revived'] == 0
  unused = np.setdiff1d(np.arange(K), np.asarray(again.indices))
  np.testing.assert_array_equal(
    cases.table(quantizer, later)[unused], cases.table(quantizer, after)[unused]
  )


def test_the_bound_is_a_fraction_of_the_fair_share():
  """With 40 vectors to 16 codes the share is 2.5."""
  variables = start(REVIVING)
  sizes = np.linspace(0.3, 0.7, K)
  variables['codebook']['cluster_size'] = jnp.asarray(sizes, jnp.float32)
  quantized, after = cases.step(REVIVING, variables, cases.latents(40))
  counts = np.bincount(quantized.indices, minlength=K)
  dead = 0.5 * sizes + 0.5 * counts < 0.1 * 2.5
  assert quantized.stats['revived'] == dead.sum()
  assert 0 < dead.sum() < (counts == 0).sum()
  moved = is_a_row(cases.table(REVIVING, after), cases.latents(40))
  np.testing.assert_array_equal(moved, dead)


@pytest.mark.parametrize('until', [0, 2])
def test_revival_ends(until):
  quantizer = make(dead_code_threshold=0.9, revive_until_step=until)
  variables = start(quantizer)
  revived = []
  for i in range(5):
    # The batch wanders off, so that some codes always fall behind.
    z = cases.latents(40, seed=i) + 20.0 * i
    before = cases.table(quantizer, variables)
    quantized, variables = cases.step(quantizer, variables, z, seed=i)
    revived.append(float(quantized.stats['revived']))
    if i >= until:
      used = np.unique(quantized.indices)
      unused = np.setdiff1d(np.arange(K), used)
      np.testing.assert_array_equal(
        cases.table(quantizer, variables)[unused], before[unused]
      )
  assert [n > 0 for n in revived] == [i < until for i in range(5)]


def test_zero_never_revives_and_samples_nothing():
  quantizer = make(dead_code_threshold=0.0)
  variables = start(quantizer)
  quantized, updated = jax.jit(
    lambda v, z: quantizer.apply(v, z, train=True, mutable=['codebook'])
  )(variables, cases.latents(40))
  assert 'revived' not in quantized.stats
  np.testing.assert_array_equal(
    updated['codebook']['codebook'][4:], variables['codebook']['codebook'][4:]
  )


def test_a_vector_is_sampled_by_its_squared_error():
  z = jnp.arange(4, dtype=jnp.float32)[:, None]
  codes = z + jnp.sqrt(jnp.array([[0.0], [1.0], [2.0], [5.0]]))
  sampled = jax.jit(dead_codes.sample_replacements, static_argnums=3)(
    jax.random.key(0), z, codes, 20_000
  )
  frequencies = (
    np.bincount(np.asarray(sampled[:, 0], int), minlength=4) / 20_000
  )
  np.testing.assert_allclose(
    frequencies, np.array([0, 1, 2, 5]) / 8, atol=0.015
  )
  assert frequencies[0] == 0


def test_a_batch_without_error_still_yields_its_vectors():
  z = cases.latents(2, 3)
  sample = jax.jit(dead_codes.sample_replacements, static_argnums=3)
  sampled = sample(jax.random.key(0), z, z, K)
  assert is_a_row(sampled, z.reshape(-1, D)).all()


def test_a_chosen_code_is_alive_however_young_its_average():
  """The averages start at 1, far under the share of a large batch."""
  quantizer = make(dead_code_threshold=0.5, decay=0.99)
  codes = cases.latents(K)
  variables = cases.with_table(cases.init(quantizer), codes)
  quantized, _ = cases.step(quantizer, variables, jnp.tile(codes, (100, 1)))
  assert quantized.stats['revived'] == 0
