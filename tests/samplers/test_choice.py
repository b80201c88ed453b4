"""Laws of the draw of a token."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vq_jax import samplers

LOGITS = np.array([2.0, 0.5, -1.0, 1.0, 0.0, -3.0], np.float32)
DRAWS = 20_000


def frequencies(temperature, logits=LOGITS):
  choice = samplers.TokenChoice(temperature=temperature)
  tiled = jnp.broadcast_to(logits[None], (DRAWS, len(logits)))
  drawn = jax.jit(choice)(jax.random.key(0), tiled)
  assert drawn.dtype == jnp.int32
  return np.bincount(drawn, minlength=len(logits)) / DRAWS


def softmax(logits):
  p = np.exp(logits - logits.max())
  return p / p.sum()


def test_temperature_zero_is_the_argmax_whatever_the_key():
  choice = jax.jit(samplers.TokenChoice(temperature=0))
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(3, 50, 7)).astype(np.float32)
  for seed in range(3):
    drawn = choice(jax.random.key(seed), logits)
    assert drawn.dtype == jnp.int32
    np.testing.assert_array_equal(drawn, logits.argmax(-1))


@pytest.mark.parametrize('temperature', [0.5, 1.0, 2.0])
def test_frequencies_follow_the_softmax(temperature):
  """Chi-square with 5 degrees of freedom exceeds 25 once in 7000 seeds."""
  want = softmax(LOGITS / temperature)
  got = frequencies(temperature)
  assert DRAWS * np.sum((got - want) ** 2 / want) < 25


def test_extreme_temperatures():
  np.testing.assert_allclose(frequencies(1e4), np.full(6, 1 / 6), atol=0.015)
  assert frequencies(0.05)[0] > 0.999


def test_half_precision_reaches_every_token():
  """In bfloat16 a running sum of thousandths would stop long before 1."""
  choice = samplers.TokenChoice()
  drawn = choice(jax.random.key(0), jnp.zeros((DRAWS, 1000), jnp.bfloat16))
  counts = np.bincount(drawn, minlength=1000)
  assert counts.min() > 0 and counts.max() < 60  # 20 are expected


def test_an_impossible_token_is_never_drawn():
  logits = LOGITS.copy()
  logits[0] = -np.inf
  assert frequencies(1.0, logits)[0] == 0
