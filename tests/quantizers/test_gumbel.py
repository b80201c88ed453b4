"""Laws of the quantizer that samples its codes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.quantizers import cases
from tests.quantizers.cases import D
from tests.quantizers.cases import K

CASE = cases.CASES['gumbel']


def probabilities(variables, z):
  logits = np.asarray(CASE.reference.logits(variables, z), np.float64)
  p = np.exp(logits)
  return p / p.sum(axis=-1, keepdims=True)


def test_training_samples_a_code_by_its_probability():
  quantizer = CASE.make()
  variables = cases.init(quantizer)
  z = cases.latents(1)
  quantized, _ = cases.step(quantizer, variables, np.repeat(z, 20_000, axis=0))
  frequencies = np.bincount(quantized.indices, minlength=K) / 20_000
  np.testing.assert_allclose(
    frequencies, probabilities(variables, z)[0], atol=0.012
  )


def test_the_sample_changes_with_the_key_and_the_position():
  quantizer = CASE.make()
  variables = cases.init(quantizer)
  z = np.repeat(cases.latents(1), 64, axis=0)
  one, _ = cases.step(quantizer, variables, z, seed=0)
  two, _ = cases.step(quantizer, variables, z, seed=1)
  assert len(np.unique(one.indices)) > K / 4
  assert (one.indices != two.indices).mean() > 0.3


def test_the_gradient_of_training_with_the_noise_known(monkeypatch):
  """That of softmax((logits + noise) / temperature) times the table."""
  noise = 3 * cases.latents(12, K // D).reshape(12, K)
  monkeypatch.setattr(
    type(CASE.make()), '_noise', lambda self, keys: jnp.asarray(noise)
  )
  quantizer = CASE.make(temperature=0.8)
  variables = cases.init(quantizer)
  z = jnp.asarray(cases.latents(12))
  codes = variables['params']['codebook']

  @jax.jit
  def output(z, params):
    quantized, _ = quantizer.apply(
      {**variables, 'params': params},
      z,
      train=True,
      mutable=['codebook'],
      rngs={'code': jax.random.key(0)},
    )
    return jnp.sum(jnp.sin(quantized.quantized)), quantized

  (_, quantized), got = jax.value_and_grad(output, (0, 1), has_aux=True)(
    z, variables['params']
  )
  noisy = CASE.reference.logits(variables, z) + noise
  np.testing.assert_array_equal(quantized.indices, noisy.argmax(axis=-1))

  def by_hand(z):
    logits = CASE.reference.logits(variables, z) + noise
    soft = jax.nn.softmax(logits / 0.8) @ codes
    return jnp.sum(soft * jnp.cos(quantized.quantized))

  np.testing.assert_allclose(got[0], jax.grad(by_hand)(z), atol=1e-5)
  # The table learns where it was chosen.
  want = np.zeros((K, D))
  np.add.at(
    want, np.asarray(quantized.indices), np.cos(np.asarray(quantized.quantized))
  )
  np.testing.assert_allclose(got[1]['codebook'], want, atol=1e-5)


def test_the_loss_by_hand():
  """Divergences from uniform: of each vector's p, and of their mean."""
  quantizer = CASE.make()
  variables = cases.init(quantizer)
  z = cases.latents(12)
  p = probabilities(variables, z)
  mean = p.mean(axis=0)
  kl = (p * np.log(p * K)).sum(axis=-1).mean()
  imbalance = (mean * np.log(mean * K)).sum()
  for train in [False, True]:
    quantized, _ = cases.run(quantizer, variables, z, train=train)
    np.testing.assert_allclose(quantized.stats['kl'], kl, rtol=1e-5)
    np.testing.assert_allclose(
      quantized.stats['imbalance'], imbalance, rtol=1e-4
    )
    np.testing.assert_allclose(
      quantized.loss, 0.3 * kl + 0.2 * imbalance, rtol=1e-5
    )


@pytest.mark.parametrize(
  ('updates', 'want'), [(0, 2.0), (25, 1.78033), (50, 1.25), (100, 0.5)]
)
def test_the_temperature_falls_along_half_a_cosine(updates, want):
  quantizer = CASE.make(temperature=2.0, end_temperature=0.5, anneal_steps=100)
  variables = cases.init(quantizer)
  for later in {0, 1000} if updates == 100 else {0}:
    state = {'updates': jnp.int32(updates + later)}
    quantized, after = cases.step(
      quantizer, {**variables, 'codebook': state}, cases.latents(12)
    )
    np.testing.assert_allclose(quantized.stats['temperature'], want, rtol=1e-5)
    assert after['codebook']['updates'] == updates + later + 1
