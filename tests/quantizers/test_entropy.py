"""Laws of the entropy loss, by sums over all codes."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.quantizers import cases
from vq_jax.quantizers import entropy


def mean_entropies(logits, axis_name=None):
  """E[H(p)] and H(E[p]) of p = softmax(logits)."""
  rows = logits.size // logits.shape[-1]
  sums = entropy.entropy_sums(logits)
  return entropy.mean_entropies(sums, rows, axis_name)


entropies = jax.jit(mean_entropies)
bit_entropies = functools.partial(jax.jit, static_argnums=1)(
  entropy.bit_entropies
)


def brute_entropy(p):
  return -sum(x * np.log(x) for x in np.ravel(p) if x > 0)


def distributions(logits):
  """p of each row [N, K], in float64."""
  logits = np.asarray(logits, np.float64)
  logits = logits.reshape(-1, logits.shape[-1])
  p = np.exp(logits - logits.max(axis=-1, keepdims=True))
  return p / p.sum(axis=-1, keepdims=True)


def over_codes(logits):
  """p over the 2^D codes, from logits of bits [N, D]; the first is fastest."""
  one = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
  columns = []
  for code in itertools.product([0, 1], repeat=logits.shape[-1]):
    chosen = np.where(np.array(code[::-1]) == 1, one, 1 - one)
    columns.append(chosen.prod(axis=-1))
  return np.stack(columns, axis=-1)


def test_both_terms_by_brute_force():
  logits = 3 * cases.latents(5, 7)
  p = distributions(logits)
  sample, batch = entropies(logits)
  np.testing.assert_allclose(sample, np.mean([*map(brute_entropy, p)]), 1e-5)
  np.testing.assert_allclose(batch, brute_entropy(p.mean(axis=0)), 1e-5)


def test_bounds():
  """Sure and even: 0 and log K. Unsure: log K twice. All the same: 0 twice."""
  even, most = 1e4 * np.eye(8, dtype=np.float32), np.log(8)
  for logits, want in [
    (even, (0, most)),
    (0 * even, (most, most)),
    (even[:1].repeat(8, axis=0), (0, 0)),
  ]:
    np.testing.assert_allclose(entropies(logits), want, atol=1e-5)


def test_the_gradient_is_finite_where_a_probability_is_zero():
  logits = 1e4 * jnp.eye(8)[:3]
  for term in range(2):
    gradient = jax.jit(jax.grad(lambda x, i=term: entropies(x)[i]))(logits)
    assert jnp.isfinite(gradient).all()
    gradient = jax.jit(jax.grad(lambda x, i=term: bit_entropies(x, 4)[i]))(
      logits
    )
    assert jnp.isfinite(gradient).all()


def test_the_gradient_of_the_sums_is_that_of_the_formulas():
  logits = jnp.asarray(2 * cases.latents(5, 7))

  def plain(logits):
    log_p = jax.nn.log_softmax(logits)
    p = jnp.exp(log_p)
    return -jnp.sum(p * log_p), p.sum(axis=(0, 1))

  _, want = jax.vjp(plain, logits)
  _, got = jax.vjp(entropy.entropy_sums, logits)
  of_p = jnp.asarray(cases.latents()[: logits.shape[-1]])
  for cotangents in [(1.0, 0 * of_p), (0.0, of_p), (0.3, of_p)]:
    cotangents = jnp.float32(cotangents[0]), cotangents[1]
    np.testing.assert_allclose(
      got(cotangents)[0], want(cotangents)[0], atol=1e-5
    )


def test_the_loss_of_a_codebook():
  """MaskGIT's: E[H(p)] - H(E[p]), p = softmax(-distance / temperature)."""
  z, codes = cases.latents(30), cases.latents(16, seed=1)
  p = distributions(-cases.distances(z, codes) / 0.3)
  want = np.mean([*map(brute_entropy, p)]) - brute_entropy(p.mean(axis=0))
  got = jax.jit(entropy.codebook_entropy_loss)(z, codes, 0.3)
  np.testing.assert_allclose(got, want, rtol=1e-4)


@pytest.mark.parametrize('bits', [1, 3, 5])
def test_bits_are_exact_if_they_fit_into_a_group(bits):
  logits = np.random.default_rng(0).normal(size=(20, bits)).astype(np.float32)
  p = over_codes(logits)
  sample, batch = bit_entropies(logits, 5)
  np.testing.assert_allclose(sample, np.mean([*map(brute_entropy, p)]), 1e-5)
  np.testing.assert_allclose(batch, brute_entropy(p.mean(axis=0)), 1e-5)


def test_more_bits_are_a_sum_over_even_groups():
  """Five bits in groups of at most two: 1, 2, 2. It is never too small."""
  logits = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
  sample, batch = bit_entropies(logits, 2)
  parts = [over_codes(logits[:, a:b]) for a, b in [(0, 1), (1, 3), (3, 5)]]
  want = sum(brute_entropy(p.mean(axis=0)) for p in parts)
  np.testing.assert_allclose(batch, want, rtol=1e-5)
  exact = bit_entropies(logits, 5)
  np.testing.assert_allclose(sample, exact[0], rtol=1e-6)
  assert batch > exact[1]


def test_an_empty_batch_has_none():
  assert entropies(jnp.zeros((0, 5))) == (0, 0)
  assert bit_entropies(jnp.zeros((0, 5)), 2) == (0, 0)


@pytest.mark.parametrize('bits', [False, True])
def test_the_entropy_of_the_batch_is_that_of_all_replicas(bits):
  logits = 3 * cases.latents(16)
  function = (
    functools.partial(entropy.bit_entropies, group_bits=2)
    if bits
    else mean_entropies
  )
  want = jax.jit(function)(logits)
  got = jax.pmap(lambda x: function(x, axis_name='batch'), 'batch')(
    logits.reshape(8, 2, -1)
  )
  np.testing.assert_allclose(got[0].mean(), want[0], rtol=1e-5)
  np.testing.assert_allclose(got[1], np.full(8, want[1]), rtol=1e-5)
