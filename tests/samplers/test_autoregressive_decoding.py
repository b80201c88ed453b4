"""Laws of raster sampling."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.samplers.keys import keys
from vq_jax import samplers

B, N, K = 5, 7, 4
GREEDY = samplers.TokenChoice(temperature=0)
PLAIN = samplers.TokenChoice()
STATES = 97
TABLE = np.random.default_rng(0).normal(size=(STATES, K)).astype(np.float32) * 2


def new_cache(n):
  return jnp.zeros(n, jnp.int32)


def step_fn(cache, previous, position):
  """A toy causal model: its state depends on every token so far."""
  cache = (cache * 5 + previous + position) % STATES
  return jnp.asarray(TABLE)[cache], cache


@functools.partial(jax.jit, static_argnames='choice')
def decode(keys, tokens, known, choice):
  cache = new_cache(len(tokens))
  return samplers.autoregressive.decode(
    keys, step_fn, cache, tokens, known, choice
  )


def some_tokens(n=B):
  """Tokens of which none, a start, an end, single ones, and all are known."""
  rng = np.random.default_rng(3)
  tokens = rng.integers(0, K, (n, N)).astype(np.int32)
  index = np.arange(N)
  known = [index < 0, index < 3, index > 4, index % 2 == 1, index >= 0]
  return tokens, np.stack([known[i % 5] for i in range(n)])


def by_hand(tokens, known):
  """The most likely token at each position, one after the other."""
  out = tokens.copy()
  for b in range(len(tokens)):
    state, previous = 0, 0
    for i in range(N):
      state = (state * 5 + previous + i) % STATES
      if not known[b, i]:
        out[b, i] = TABLE[state].argmax()
      previous = out[b, i]
  return out


def test_greedy_tokens_are_those_of_a_loop():
  tokens, known = some_tokens()
  got = decode(keys(B), tokens, known, GREEDY)
  assert got.dtype == jnp.int32
  np.testing.assert_array_equal(got, by_hand(tokens, known))


def test_known_tokens_never_change_and_the_others_do_not_depend_on_theirs():
  tokens, known = some_tokens(40)
  for seed in range(3):
    got = np.asarray(decode(keys(40, seed), tokens, known, PLAIN))
    np.testing.assert_array_equal(got[known], tokens[known])
    assert (got[~known] != tokens[~known]).any()
    ignored = np.where(known, tokens, -1)
    np.testing.assert_array_equal(
      decode(keys(40, seed), ignored, known, PLAIN), got
    )


def test_each_position_is_decided_once_and_in_order():
  tokens, known = some_tokens()
  seen = []

  def spy(cache, previous, position):
    def note(previous, position):
      seen.append((int(position), np.asarray(previous)))

    jax.debug.callback(note, previous, position, ordered=True)
    return step_fn(cache, previous, position)

  got = samplers.autoregressive.decode(
    keys(B), spy, new_cache(B), tokens, known, PLAIN
  )
  jax.effects_barrier()
  assert [position for position, _ in seen] == list(range(N))
  np.testing.assert_array_equal(seen[0][1], np.zeros(B))
  before = np.stack([previous for _, previous in seen[1:]], axis=1)
  np.testing.assert_array_equal(before, got[:, :-1])


def test_an_example_is_the_same_in_any_batch():
  tokens, known = some_tokens(8)
  whole = np.asarray(decode(keys(8), tokens, known, PLAIN))
  for part in [slice(0, 3), slice(5, 8), slice(None, None, -1)]:
    got = decode(keys(8)[part], tokens[part], known[part], PLAIN)
    np.testing.assert_array_equal(got, whole[part])


def test_frequencies_follow_the_chain():
  """p(first) p(second | first); 15 degrees of freedom, 45 once in 10^4."""
  n = 20_000
  nothing = np.zeros((n, N), np.int32)
  got = np.asarray(decode(keys(n), nothing, nothing > 0, PLAIN))[:, :2]
  p = np.exp(TABLE) / np.exp(TABLE).sum(-1, keepdims=True)
  want = np.stack([p[0, a] * p[a + 1] for a in range(K)])
  counts = np.zeros((K, K))
  np.add.at(counts, (got[:, 0], got[:, 1]), 1)
  assert np.sum((counts - n * want) ** 2 / (n * want)) < 45


def test_nothing_recompiles_for_other_keys_tokens_and_known():
  tokens, known = some_tokens(3)
  before = decode._cache_size()
  for seed in range(3):
    choice = samplers.TokenChoice(temperature=0.7)
    decode(keys(3, seed), tokens + seed, known ^ bool(seed), choice)
  assert decode._cache_size() == before + 1


def test_shapes_that_do_not_fit_are_refused():
  tokens, known = some_tokens()
  with pytest.raises(ValueError, match='tokens and known must both be'):
    decode(keys(B), tokens, known[:, :-1], PLAIN)


# Guidance: the toy model's state also depends on the label.

LABEL = jnp.array([3, 11, 3, 40, 8])
NULL = 60


def guided(scale, label=LABEL, choice=GREEDY, schedule=None):
  guidance = samplers.Guidance(
    scale=scale, schedule=schedule or samplers.guidance.linear
  )
  rows = []

  def counted(cache, previous, position):
    rows.append(len(previous))
    return step_fn(cache, previous, position)

  tokens = jnp.zeros((B, N), jnp.int32)
  got = samplers.autoregressive.decode(
    keys(B),
    guidance.step_fn(counted, N),
    guidance.rows(label, NULL),
    tokens,
    tokens > 0,
    choice,
  )
  return np.asarray(got), set(rows)


def test_without_guidance_only_the_conditional_model_is_called():
  got, rows = guided(0.0, choice=PLAIN)
  tokens = jnp.zeros((B, N), jnp.int32)
  want = samplers.autoregressive.decode(
    keys(B), step_fn, LABEL, tokens, tokens > 0, PLAIN
  )
  np.testing.assert_array_equal(got, want)
  assert rows == {B}


@pytest.mark.parametrize('scale', [-1.0, 0.7, 4.0])
@pytest.mark.parametrize(
  ('schedule', 'strength'),
  [
    (samplers.guidance.constant, lambda r: 1),
    (
      samplers.guidance.PowerCosine(power=2.0),
      lambda r: (1 - np.cos(np.pi * r**2)) / 2,
    ),
  ],
)
def test_guided_tokens_are_those_of_a_loop(schedule, strength, scale):
  """Both halves see the guided tokens; progress is position / N."""
  got, rows = guided(scale, schedule=schedule)
  assert rows == {2 * B}
  for b in range(B):
    states, previous = np.array([LABEL[b], NULL]), 0
    for i in range(N):
      states = (states * 5 + previous + i) % STATES
      yes, no = TABLE[states]
      previous = (yes + scale * strength(i / N) * (yes - no)).argmax()
      assert got[b, i] == previous
  assert (got != guided(0.0)[0]).any()
