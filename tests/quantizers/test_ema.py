"""Laws of the codebook of moving averages."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.quantizers import cases
from tests.quantizers.cases import BETA
from tests.quantizers.cases import D
from tests.quantizers.cases import K

make = cases.CASES['ema_vq'].make


def reference(state, z, decay):
  """One update in float64, code by code."""
  state = {name: np.array(v, np.float64) for name, v in state.items()}
  z = np.asarray(z, np.float64).reshape(-1, D)
  nearest = cases.distances(z, state['codebook']).argmin(axis=-1)
  for k in range(K):
    members = z[nearest == k]
    size = decay * state['cluster_size'][k] + (1 - decay) * len(members)
    total = decay * state['cluster_sum'][k] + (1 - decay) * members.sum(axis=0)
    state['cluster_size'][k] = size
    state['cluster_sum'][k] = total
    if len(members):
      state['codebook'][k] = total / size
  state['updates'] += 1
  return state


@pytest.mark.parametrize('decay', [0.5, 0.99])
def test_three_updates_by_hand(decay):
  quantizer = make(decay=decay)
  variables = cases.init(quantizer)
  want = variables['codebook']
  for i in range(3):
    z = cases.latents(2, 3, seed=i)
    want = reference(want, z, decay)
    _, variables = cases.step(quantizer, variables, z)
    cases.assert_close(variables['codebook'], want)
  sizes = want['cluster_size']
  assert (sizes == sizes.min()).sum() > 1, 'some code must be without members'


def test_counts_and_sums_of_one_batch():
  """With decay 0 the averages are the batch's own."""
  quantizer = make(decay=0.0)
  variables = cases.init(quantizer)
  z = np.asarray(cases.latents(30))
  quantized, after = cases.step(quantizer, variables, z)
  indices = np.asarray(quantized.indices)
  counts = np.bincount(indices, minlength=K)
  sums = np.stack([z[indices == k].sum(axis=0) for k in range(K)])
  np.testing.assert_array_equal(after['codebook']['cluster_size'], counts)
  np.testing.assert_allclose(after['codebook']['cluster_sum'], sums, atol=1e-5)


def test_loss_is_the_commitment_alone():
  quantizer = make()
  variables = cases.init(quantizer)
  z = cases.latents(3, 5)
  distance = cases.distances(z, cases.table(quantizer, variables)).min(axis=-1)
  for train in [False, True]:
    quantized, _ = cases.run(quantizer, variables, z, train=train)
    np.testing.assert_allclose(quantized.loss, BETA * distance.mean() / D, 1e-5)


def test_only_training_moves_the_codebook():
  quantizer = make(kmeans_iterations=2, dead_code_threshold=0.5)
  variables = cases.init(quantizer)
  z = cases.latents(50)
  _, after = cases.run(quantizer, variables, z)
  cases.assert_same(after, variables)
  for i in range(3):
    before = cases.table(quantizer, variables)
    _, variables = cases.step(quantizer, variables, z, seed=i)
    assert (cases.table(quantizer, variables) != before).any()
    assert variables['codebook']['updates'] == i + 1


def test_evaluation_needs_no_rng_and_no_mutable_state():
  quantizer = make(kmeans_iterations=2, dead_code_threshold=0.5)
  variables = cases.init(quantizer)
  z = cases.latents(5)
  got = jax.jit(quantizer.apply)(variables, z)
  cases.assert_same(got, cases.run(quantizer, variables, z)[0])


def test_initialising_with_train_learns_nothing():
  quantizer = make(kmeans_iterations=2, dead_code_threshold=0.5)
  variables = jax.jit(
    lambda z: quantizer.init(jax.random.key(0), z, train=True)
  )(cases.latents(50))
  cases.assert_same(variables, cases.init(quantizer))
  assert variables['codebook']['updates'] == 0


def test_a_batch_is_quantized_before_it_moves_the_codebook():
  quantizer = make(decay=0.1)
  variables = cases.init(quantizer)
  z = cases.latents(50)
  before = cases.run(quantizer, variables, z)[0]
  during, variables = cases.step(quantizer, variables, z)
  after = cases.run(quantizer, variables, z)[0]
  np.testing.assert_array_equal(during.indices, before.indices)
  np.testing.assert_array_equal(during.quantized, before.quantized)
  np.testing.assert_array_equal(during.loss, before.loss)
  assert after.loss < 0.7 * before.loss


def test_an_unused_code_is_unchanged_and_can_be_used_again():
  """Five hundred steps without a member: same bits; then one step is enough."""
  quantizer = make(decay=0.8)
  variables = cases.init(quantizer)
  here = jnp.full((4, D), 0.1)

  @jax.jit
  def many(variables):
    def body(variables, _):
      _, updated = quantizer.apply(
        variables, here, train=True, mutable=['codebook']
      )
      return {**variables, **updated}, None

    return jax.lax.scan(body, variables, length=500)[0]

  before = cases.table(quantizer, variables)
  used = cases.distances(here[0], before).argmin()
  after = many(variables)
  codes = cases.table(quantizer, after)
  others = np.arange(K) != used
  np.testing.assert_array_equal(codes[others], before[others])
  np.testing.assert_allclose(codes[used], here[0], atol=1e-6)
  assert all(jnp.isfinite(v).all() for v in jax.tree.leaves(after))

  lone = int(np.flatnonzero(others)[0])
  z = before[lone][None] + 1e-3
  quantized, after = cases.step(quantizer, after, z)
  assert quantized.indices[0] == lone
  np.testing.assert_allclose(
    cases.table(quantizer, after)[lone], z[0], atol=1e-6
  )


def test_an_empty_batch_with_every_option_on_changes_nothing():
  quantizer = make(kmeans_iterations=2, dead_code_threshold=0.5)
  variables = cases.init(quantizer)
  quantized, after = cases.step(quantizer, variables, jnp.zeros((0, 2, 2, D)))
  assert quantized.loss == 0
  cases.assert_same(after, variables)
