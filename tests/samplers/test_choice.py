"""Laws of the draw of a token."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.samplers.keys import keys
from vq_jax import samplers

LOGITS = np.array([2.0, 0.5, -1.0, 1.0, 0.0, -3.0], np.float32)
DRAWS = 20_000


def frequencies(logits=LOGITS, **fields):
  choice = samplers.TokenChoice(**fields)
  tiled = jnp.broadcast_to(logits[None], (DRAWS, len(logits)))
  drawn = jax.jit(choice)(keys(DRAWS), tiled)
  assert drawn.dtype == jnp.int32
  return np.bincount(drawn, minlength=len(logits)) / DRAWS


def softmax(logits):
  p = np.exp(logits - logits.max(-1, keepdims=True))
  return p / p.sum(-1, keepdims=True)


def nucleus(p, top_p):
  """By sorting: bool [..., K]."""
  order = np.argsort(-p, axis=-1, kind='stable')
  down = np.take_along_axis(p, order, axis=-1)
  kept = np.cumsum(down, axis=-1) - down < top_p
  mask = np.zeros(p.shape, bool)
  np.put_along_axis(mask, order, kept, axis=-1)
  return mask


def allowed(p, top_k, top_p):
  """Which ids may be drawn: bool [..., K]."""
  if top_k is not None:
    rank = np.argsort(np.argsort(-p, axis=-1, kind='stable'), axis=-1)
    p = np.where(rank < top_k, p, 0)
    p = p / p.sum(-1, keepdims=True)
  return (p > 0) & nucleus(p, 1 if top_p is None else top_p)


def test_temperature_zero_is_the_argmax_whatever_the_key():
  choice = jax.jit(samplers.TokenChoice(temperature=0, top_k=3, top_p=0.9))
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(3, 50, 7)).astype(np.float32)
  for seed in range(3):
    drawn = choice(keys(3, seed), logits)
    assert drawn.dtype == jnp.int32
    np.testing.assert_array_equal(drawn, logits.argmax(-1))


@pytest.mark.parametrize('temperature', [0.5, 1.0, 2.0])
def test_frequencies_follow_the_softmax(temperature):
  """Chi-square with 5 degrees of freedom exceeds 25 once in 7000 seeds."""
  want = softmax(LOGITS / temperature)
  got = frequencies(temperature=temperature)
  assert DRAWS * np.sum((got - want) ** 2 / want) < 25


# The probabilities in falling order: .56 .21 .13 .08 .03 .00, of 0 3 1 4 2 5.
@pytest.mark.parametrize(
  ('top_k', 'top_p', 'temperature', 'ids'),
  [
    (4, None, 1.0, [0, 1, 3, 4]),
    (4, None, 2.0, [0, 1, 3, 4]),
    (100, None, 1.0, [0, 1, 2, 3, 4, 5]),
    (None, 1.0, 1.0, [0, 1, 2, 3, 4, 5]),
    (None, 0.8, 1.0, [0, 1, 3]),
    (None, 0.9, 3.0, [0, 1, 2, 3, 4]),
    (None, 0.6, 1.0, [0, 3]),
    (3, 0.85, 1.0, [0, 3]),  # .63 .23 .14 of the three that are left
    (3, 0.9, 1.0, [0, 1, 3]),
  ],
)
def test_frequencies_are_those_of_the_allowed_ids(
  top_k, top_p, temperature, ids
):
  want = softmax(LOGITS / temperature)
  np.testing.assert_array_equal(
    np.flatnonzero(allowed(want, top_k, top_p)), ids
  )
  got = frequencies(top_k=top_k, top_p=top_p, temperature=temperature)
  assert got[ids].sum() == pytest.approx(1)
  want = want[ids] / want[ids].sum()
  assert DRAWS * np.sum((got[ids] - want) ** 2 / want) < 25


@pytest.mark.parametrize('top_k', [None, 1, 7, 30])
@pytest.mark.parametrize('top_p', [None, 1e-6, 0.3, 0.9, 0.999])
def test_other_ids_are_never_drawn_and_all_allowed_ones_are(top_k, top_p):
  rng = np.random.default_rng(1)
  scale = np.array([0.1, 1.0, 4.0], np.float32)[:, None, None]
  logits = np.repeat(rng.normal(size=(3, 1, 40)), 4000, axis=1) * scale
  choice = samplers.TokenChoice(top_k=top_k, top_p=top_p)
  drawn = np.asarray(jax.jit(choice)(keys(3), logits.astype(np.float32)))
  may = allowed(softmax(logits[:, 0]), top_k, top_p)
  for i in range(3):
    counts = np.bincount(drawn[i], minlength=40)
    assert not counts[~may[i]].any()
    likely = may[i] & (softmax(logits[i, 0]) > 0.005)
    assert (counts[likely] > 0).all()


def test_of_equal_ids_top_k_takes_the_lowest_and_top_p_all():
  logits = np.array([0.0, 1.0, 1.0, 1.0], np.float32)
  assert frequencies(logits, top_k=1)[1] == 1
  np.testing.assert_array_equal(frequencies(logits, top_k=2) > 0, [0, 1, 1, 0])
  np.testing.assert_array_equal(
    frequencies(logits, top_p=0.1) > 0, [0, 1, 1, 1]
  )


def test_top_k_of_one_is_the_argmax():
  rng = np.random.default_rng(0)
  logits = rng.integers(0, 4, size=(3, 50, 7)).astype(np.float32)  # with ties
  for fields in [{'top_k': 1}, {'top_k': 1, 'top_p': 0.5, 'temperature': 9.0}]:
    drawn = samplers.TokenChoice(**fields)(keys(3), logits)
    np.testing.assert_array_equal(drawn, logits.argmax(-1))


def test_extreme_temperatures():
  uniform = frequencies(temperature=1e4)
  np.testing.assert_allclose(uniform, np.full(6, 1 / 6), atol=0.015)
  assert frequencies(temperature=0.05)[0] > 0.999


def test_half_precision_reaches_every_token():
  """In bfloat16 a running sum of thousandths would stop long before 1."""
  choice = samplers.TokenChoice()
  drawn = choice(keys(DRAWS), jnp.zeros((DRAWS, 1000), jnp.bfloat16))
  counts = np.bincount(drawn, minlength=1000)
  assert counts.min() > 0 and counts.max() < 60  # 20 are expected


@pytest.mark.parametrize('fields', [{}, {'top_k': 5}, {'top_p': 0.99999}])
def test_an_impossible_token_is_never_drawn(fields):
  logits = LOGITS.copy()
  logits[[0, 3]] = -np.inf
  assert not frequencies(logits, **fields)[[0, 3]].any()


@pytest.mark.parametrize('fields', [{}, {'top_k': 5, 'top_p': 0.9}])
def test_an_example_draws_alike_in_any_batch(fields):
  choice = samplers.TokenChoice(**fields)
  logits = jnp.broadcast_to(LOGITS[None, None], (8, 30, 6))
  whole = np.asarray(choice(keys(8), logits))
  np.testing.assert_array_equal(choice(keys(8)[3:5], logits[3:5]), whole[3:5])
  assert len(np.unique(whole, axis=0)) == 8  # and others draw otherwise
  assert len(np.unique(whole, axis=1)[0]) > 1


def test_an_example_has_the_key_of_its_place_in_the_request():
  rng = jax.random.key(0)
  whole = samplers.example_keys(rng, jnp.arange(8))
  part = samplers.example_keys(rng, jnp.arange(5, 8))
  np.testing.assert_array_equal(
    jax.random.key_data(part), jax.random.key_data(whole)[5:]
  )
  assert len(np.unique(jax.random.key_data(whole), axis=0)) == 8


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    (
      {'temperature': -1.0},
      r'temperature must be a finite number in \[0, 1000000\]; got -1',
    ),
    ({'top_k': 0}, 'top_k must be a whole number of at least 1 or None; got 0'),
    ({'top_p': 0.0}, r'top_p must be a finite number in \(0, 1\] or None'),
    ({'top_p': 1.1}, r'top_p must be a finite number in \(0, 1\] or None'),
  ],
)
def test_bad_choices_are_refused(fields, message):
  with pytest.raises(ValueError, match=message):
    samplers.TokenChoice(**fields)
