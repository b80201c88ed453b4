"""Laws of parallel decoding in every order, with and without remasking."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.samplers import decoding
from tests.samplers.decoding import GRID
from tests.samplers.decoding import MASK
from tests.samplers.decoding import N
from tests.samplers.keys import keys
from vq_jax import samplers
from vq_jax.samplers import counting
from vq_jax.samplers import orders
from vq_jax.samplers import schedules

T = 6
ONCE = {
  'confidence': {'order': orders.Confidence()},
  'halton': {
    'order': orders.Halton(),
    'schedule': schedules.arccos,
    'logit_scale': 1.2,
    'top_k': 5,
    'top_p': 0.9,
  },
  'random': {'order': orders.Random(), 'schedule': schedules.linear},
}
AGAIN = {
  'critic': {'order': orders.Critic()},
  'cap': {
    'order': orders.Random(),
    'remask': 0.3,
  },
  'rescale': {
    'order': orders.Confidence(),
    'schedule': schedules.linear,
    'remask': 0.7,
    'remask_limit': 'rescale',
  },
  'least likely': {
    'order': orders.Halton(),
    'remask': 1.0,
    'remask_order': 'confidence',
  },
}

CASES = ONCE | AGAIN


def every(cases):
  return pytest.mark.parametrize('name', cases)


def make_sampler(name, steps=T, **fields):
  return samplers.MaskGITSampler(steps=steps, **CASES[name] | fields)


@functools.cache
def watched(name):
  return decoding.states(
    make_sampler(name), grid=GRID, critic_fn=decoding.critic_fn
  )


def expected_counts(sampler, tokens):
  """How many are masked before each step and after the last: [T + 1, B]."""
  start = (np.asarray(tokens) == MASK).sum(axis=1)
  counts = sampler.masked_counts(N)
  return np.stack([start, *counts[:, start]])


@every(CASES)
def test_counts_are_the_schedule_s_and_given_tokens_are_never_masked(name):
  tokens = np.asarray(decoding.some_tokens())
  given = tokens != MASK
  states = watched(name)
  counts = [(state == MASK).sum(axis=1) for state in states]
  np.testing.assert_array_equal(
    counts, expected_counts(make_sampler(name), tokens)
  )
  for state in states:
    np.testing.assert_array_equal(state[given], tokens[given])
  assert (states[-1] >= 0).all() and (states[-1] < MASK).all()


@every(ONCE)
def test_sampled_tokens_never_change(name):
  states = watched(name)
  for before, after in zip(states, states[1:], strict=False):
    known = before != MASK
    np.testing.assert_array_equal(after[known], before[known])


@every(AGAIN)
def test_a_sampled_token_changes_only_after_being_remasked(name):
  states = watched(name)
  gone = 0
  for before, after in zip(states, states[1:], strict=False):
    both = (before != MASK) & (after != MASK)
    np.testing.assert_array_equal(after[both], before[both])
    gone += ((before != MASK) & (after == MASK)).sum()
  assert gone > 0


@every([name for name in AGAIN if 'remask' in AGAIN[name]])
def test_the_number_of_remasked_tokens_follows_the_rule(name):
  states = watched(name)
  given = states[0] != MASK
  sampler = make_sampler(name)
  for before, after in zip(states, states[1:], strict=False):
    decided = ((before != MASK) & ~given).sum(axis=1)
    masked = (after == MASK).sum(axis=1)
    share = sampler.remask
    most = np.minimum(decided, masked)
    want = {
      'cap': np.minimum(np.floor(share * decided + 1e-9), most),
      'rescale': np.floor(share * most + 1e-9),
    }[sampler.remask_limit]
    gone = ((before != MASK) & (after == MASK)).sum(axis=1)
    np.testing.assert_array_equal(gone, want)


def test_sigma_never_exceeds_its_maximum():
  """min(1, (1 - alpha') / alpha), of 64 tokens; 0 before any is decided."""
  decided, masked = np.meshgrid(np.arange(65), np.arange(65))
  decided, masked = decided.ravel(), masked.ravel()
  for limit in ['cap', 'rescale']:
    for eta in [0.0, 0.05, 0.5, 1.0]:
      counts = np.asarray(
        counting.remasked_counts(eta, limit, decided, masked, 64)
      )
      alpha, after = decided / 64, (64 - masked) / 64
      most = np.minimum(1, (1 - after) / np.maximum(alpha, 1e-9))
      sigma = np.minimum(eta, most) if limit == 'cap' else eta * most
      np.testing.assert_array_less(counts, sigma * decided + 1e-4)
      np.testing.assert_array_less(sigma * decided - 1, counts + 1e-4)


def test_the_tokens_with_the_least_probability_are_remasked():
  """However likely they have become since."""
  sure = np.random.default_rng(0).permuted(
    np.tile(np.linspace(0, 6, N, dtype=np.float32), (T, 1)), axis=1
  )

  def logits_fn(tokens, progress):
    step = jnp.round(progress * T).astype(jnp.int32)
    logits = jnp.zeros((*tokens.shape, MASK))
    return logits.at[..., 0].set(jnp.asarray(sure)[step][None])

  sampler = samplers.MaskGITSampler(
    steps=T,
    order=orders.Halton(),
    temperature=0,
    remask=0.5,
    remask_order='confidence',
  )
  states = decoding.states(
    sampler, jnp.full((8, N), MASK), logits_fn, grid=GRID
  )
  when_drawn, count = np.full((8, N), np.nan), 0
  for t, (before, after) in enumerate(zip(states, states[1:], strict=False)):
    decided, masked = before != MASK, after == MASK
    for b in range(8):
      gone, stayed = (
        when_drawn[b, decided[b] & those] for those in (masked[b], ~masked[b])
      )
      assert gone.max(initial=-1) <= stayed.min(initial=9)
      count += len(gone)
    when_drawn = np.where(decided, when_drawn, sure[t])
  assert count > 0


def test_the_critic_remasks_the_lowest_scores_among_unknown_tokens():
  sampler = make_sampler('critic', order=orders.Critic(temperature=0))
  tokens = decoding.some_tokens()
  sampled = []

  def critic_fn(tokens, progress):
    jax.debug.callback(
      lambda x: sampled.append(np.asarray(x)), tokens, ordered=True
    )
    return decoding.critic_fn(tokens, progress)

  states = decoding.states(sampler, critic_fn=critic_fn)
  given = np.asarray(tokens) != MASK
  assert len(sampled) == T
  for full, after in zip(sampled, states[1:], strict=True):
    assert (full != MASK).all()
    liked = np.asarray(decoding.critic_fn(full, 0))
    for b in range(len(tokens)):
      masked = after[b] == MASK
      kept = ~masked & ~given[b]
      if masked.any() and kept.any():
        assert liked[b, masked].max() <= liked[b, kept].min()


def test_halton_decodes_in_order_from_the_offset_of_each_example():
  states = decoding.states(
    make_sampler('halton'), jnp.full((8, N), MASK), grid=GRID
  )
  ranks = orders.halton_ranks(*GRID)
  starts = set()
  for b in range(8):
    when = np.sum([state[b] == MASK for state in states], axis=0)
    by_list = when[np.argsort(ranks)]  # the step that decided each cell
    rolls = [np.roll(by_list, -k) for k in range(N)]
    rising = [k for k in range(N) if (np.diff(rolls[k]) >= 0).all()]
    assert len(rising) == 1
    starts.update(rising)
  assert len(starts) > 1


@every(CASES)
def test_one_step_samples_all_tokens_from_the_first_logits(name):
  tokens = decoding.some_tokens()
  sampler = make_sampler(name, steps=1, temperature=0)
  got = decoding.run(sampler, keys(4), tokens)
  want = decoding.logits_fn(tokens, 0).argmax(-1)
  np.testing.assert_array_equal(got, np.where(tokens == MASK, want, tokens))


@every(CASES)
def test_an_example_is_the_same_at_any_index_of_the_batch(name):
  sampler = make_sampler(name)
  tokens = jnp.tile(decoding.some_tokens()[:2], (4, 1))
  whole = np.asarray(decoding.run(sampler, keys(8), tokens))
  assert len(np.unique(whole, axis=0)) == 8
  got = decoding.run(sampler, keys(8)[::-1], tokens[::-1])
  np.testing.assert_array_equal(got[::-1], whole)


def test_batch_size_and_devices_change_no_sample():
  sampler = make_sampler('rescale')
  tokens = jnp.tile(decoding.some_tokens()[:2], (4, 1))
  whole = np.asarray(decoding.run(sampler, keys(8), tokens))
  for part in [slice(0, 4), slice(4, 8)]:
    got = decoding.run(sampler, keys(8)[part], tokens[part])
    np.testing.assert_array_equal(got, whole[part])
  mesh = jax.make_mesh((8,), ('data',))
  spread = jax.sharding.NamedSharding(mesh, jax.P('data'))
  got = decoding.run(sampler, *jax.device_put((keys(8), tokens), spread))
  np.testing.assert_array_equal(got, whole)


@every(['critic', 'cap'])
def test_the_last_row_of_the_trace_is_the_result(name):
  tokens = decoding.some_tokens()

  def decode(trace):
    return samplers.maskgit.decode(
      keys(4),
      decoding.logits_fn,
      tokens,
      make_sampler(name),
      mask_id=MASK,
      grid=GRID,
      critic_fn=decoding.critic_fn,
      trace=trace,
    )

  trace = np.asarray(decode(True))
  assert trace.shape == (4, T, N)
  assert (trace != MASK).all()
  np.testing.assert_array_equal(trace[:, -1], decode(False))


@pytest.mark.parametrize(
  ('name', 'message'),
  [
    ('critic', 'the order critic needs the scores of a token critic'),
    ('halton', r'needs the grid \(h, w\) of the 20'),
  ],
)
def test_an_order_without_its_inputs_is_refused(name, message):
  with pytest.raises(ValueError, match=message):
    decoding.states(make_sampler(name))


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'remask': -0.1}, r'remask must be a finite number in \[0, 1\]'),
    ({'remask': 1.1}, r'remask must be a finite number in \[0, 1\]'),
    ({'remask_limit': 'conf'}, "remask_limit must be 'cap' or 'rescale'"),
    ({'remask_order': 'halton'}, "remask_order must be 'random' or 'confid"),
  ],
)
def test_bad_remasking_is_refused(fields, message):
  with pytest.raises(ValueError, match=message):
    samplers.MaskGITSampler(**fields)
