"""Laws of MaskGIT's parallel decoding, with confidence as its order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.golden import maskgit_transformer as golden
from tests.samplers import decoding
from tests.samplers.decoding import MASK
from tests.samplers.keys import keys
from vq_jax import samplers
from vq_jax.samplers import orders
from vq_jax.samplers import schedules


def one_by_one(ratio, num_tokens):
  """The schedule in which each step decides one position."""
  del num_tokens
  return jnp.ones_like(ratio)


def golden_logits(tokens, progress):
  del progress
  return golden.PRIOR.apply(
    {'params': golden.params()}, tokens, label=golden.VECTORS['labels']
  )


def greedy(steps, tokens):
  sampler = samplers.MaskGITSampler(
    steps=steps,
    order=orders.Confidence(temperature=0),
    temperature=0,
    rounding='float32',
  )
  return samplers.maskgit.decode(
    keys(3),
    golden_logits,
    tokens,
    sampler,
    mask_id=golden.VOCAB.mask_id,
    trace=True,
  )


@pytest.mark.parametrize('steps', [1, 4, 8])
def test_greedy_tokens_equal_the_published_ones(steps):
  got = greedy(steps, jnp.full((3, 36), golden.VOCAB.mask_id))
  np.testing.assert_array_equal(got, golden.VECTORS[f'greedy_{steps}'])


def test_partly_masked_tokens_equal_the_published_ones():
  tokens = jnp.where(
    golden.VECTORS['mask'], golden.VOCAB.mask_id, golden.VECTORS['indices']
  )
  np.testing.assert_array_equal(greedy(6, tokens), golden.VECTORS['partial_6'])


@pytest.mark.parametrize(
  ('steps', 'counts'),
  [
    (8, [251, 236, 212, 181, 142, 97, 49, 0]),
    (12, [253, 247, 236, 221, 203, 181, 155, 127, 97, 66, 33, 0]),
    (
      16,
      [254, 251, 244, 236, 225, 212, 197, 181]
      + [162, 142, 120, 97, 74, 49, 25, 0],
    ),
  ],
)
def test_masked_counts_equal_the_published_ones(steps, counts):
  """The last published count is 1, but that position is decided too."""
  sampler = samplers.MaskGITSampler(steps=steps, rounding='float32')
  got = sampler.masked_counts(256)
  assert got[:, 256].tolist() == counts


def test_rounding_the_decided_count_is_what_halton_maskgit_s_code_does():
  """There it is max(t + 1, int((1 - gamma) 256)) after step t of 32."""
  sampler = samplers.MaskGITSampler(
    steps=32, schedule=schedules.arccos, rounding='decided'
  )
  decided = 256 - sampler.masked_counts(256)[:, 256]
  assert decided[:4].tolist() == [5, 10, 15, 20]
  want = [
    max(t + 1, int((1 - np.arccos((t + 1) / 32) / (np.pi / 2)) * 256))
    for t in range(32)
  ]
  assert decided.tolist() == want


@pytest.mark.parametrize(
  ('schedule', 'steps', 'step', 'total', 'want'),
  [
    (schedules.cosine, 3, 1, 64, 32),  # cos(pi / 3)
    (schedules.linear, 10, 8, 10, 1),  # 1 - 9 / 10
    (schedules.linear, 3, 0, 9, 6),
    (schedules.arccos, 2, 0, 9, 6),  # arccos(1 / 2) = pi / 3
    (schedules.square, 4, 1, 64, 48),
  ],
)
def test_an_exact_fraction_of_the_tokens_is_not_rounded_down(
  schedule, steps, step, total, want
):
  sampler = samplers.MaskGITSampler(steps=steps, schedule=schedule)
  counts = sampler.masked_counts(total)
  assert counts[step, total] == want


@pytest.mark.parametrize('schedule', [schedules.log, schedules.exp])
def test_an_edit_of_n_tokens_has_the_schedule_of_n_tokens(schedule):
  """The schedule is not that of the whole image."""
  sampler = samplers.MaskGITSampler(steps=8, schedule=schedule)
  image = sampler.masked_counts(256)
  part = sampler.masked_counts(20)
  np.testing.assert_array_equal(image[:, :21], part)


SCHEDULES = [
  schedules.cosine,
  schedules.linear,
  schedules.square,
  schedules.cubic,
  schedules.sqrt,
  schedules.log,
  schedules.arccos,
  schedules.exp,
]


@pytest.mark.parametrize('schedule', SCHEDULES, ids=lambda f: f.__name__)
def test_each_step_decides_at_least_one_and_leaves_one_but_the_last(schedule):
  start = np.arange(21)
  for steps in [1, 3, 8, 40]:
    for rounding in ['masked', 'decided', 'float32']:
      sampler = samplers.MaskGITSampler(
        steps=steps, schedule=schedule, rounding=rounding
      )
      counts = sampler.masked_counts(20)
      for before, after in zip([start, *counts], counts, strict=False):
        assert (after[before > 0] < before[before > 0]).all()
      for before, after in zip([start, *counts], counts[:-1], strict=False):
        assert (after[before > 1] > 0).all()
      assert not counts[-1].any()


@pytest.mark.parametrize('steps', [1, 3, 8, 40])
def test_each_position_is_decided_once_and_given_tokens_stay(steps):
  states = decoding.states(samplers.MaskGITSampler(steps=steps))
  final = states[-1]
  assert (final >= 0).all() and (final < MASK).all()
  for before, after in zip(states, states[1:], strict=False):
    known = before != MASK
    np.testing.assert_array_equal(after[known], before[known])
    newly = (known != (after != MASK)).sum(axis=1)
    unknown = (~known).sum(axis=1)
    assert (newly[unknown > 0] >= 1).all()


def test_a_position_that_stays_masked_is_sampled_anew():
  """With ten equally likely tokens, one in ten stays the same."""
  sampler = samplers.MaskGITSampler(steps=3, schedule=one_by_one)
  trace = np.asarray(
    samplers.maskgit.decode(
      keys(64),
      lambda tokens, progress: jnp.zeros((*tokens.shape, MASK)),
      jnp.full((64, 100), MASK),
      sampler,
      mask_id=MASK,
      trace=True,
    )
  )
  for t in range(2):
    same = trace[:, t] == trace[:, t + 1]
    np.testing.assert_allclose(same.mean(), 0.1, atol=0.03)


def test_greedy_choice_and_no_noise_leave_nothing_to_chance():
  def run(temperature, seed):
    sampler = samplers.MaskGITSampler(
      steps=5, order=orders.Confidence(temperature=temperature), temperature=0
    )
    return decoding.run(sampler, keys(4, seed), decoding.some_tokens())

  np.testing.assert_array_equal(run(0, 0), run(0, 1))
  assert (run(4.5, 0) != run(4.5, 1)).any()


def test_temperature_decides_which_positions_go_first():
  """Without noise the sure positions are kept, with much noise any."""
  sure = jnp.where(jnp.arange(16) < 4, 5.0, 0.1)

  def logits_fn(tokens, progress):
    del progress
    logits = jnp.zeros((*tokens.shape, MASK))
    return logits.at[..., 0].set(sure[None])

  def first(temperature):
    sampler = samplers.MaskGITSampler(
      steps=4,
      schedule=schedules.linear,
      order=orders.Confidence(temperature=temperature),
      temperature=0,
    )
    states = decoding.states(sampler, jnp.full((64, 16), MASK), logits_fn)
    return (states[1] != MASK)[:, :4].mean()

  assert first(0.0) == 1.0
  assert first(100.0) < 0.5


def test_the_confidence_is_that_of_the_plain_logits():
  """Position 0 is surer of its best id; a limit to one id makes all sure."""
  logits = jnp.array([[[4.0, 0.0, 0.0], [1.0, 0.0, 0.0], [2.0, 0.0, 0.0]]])
  sampler = samplers.MaskGITSampler(
    steps=3,
    schedule=one_by_one,
    order=orders.Confidence(temperature=0),
    temperature=0.01,
    top_k=1,
    logit_scale=50.0,
  )
  states = decoding.states(
    sampler, jnp.full((1, 3), MASK), lambda tokens, progress: logits
  )
  decided = [np.flatnonzero(state[0] != MASK).tolist() for state in states]
  assert decided == [[], [0], [0, 2], [0, 1, 2]]


@pytest.mark.parametrize('steps', [1, 2, 5])
def test_the_logit_scale_grows_linearly_from_one(steps):
  """The frequencies of the samples of each step follow the scaled logits."""
  n, scale = 20_000, 3.0
  logits = jnp.array([1.0, 0.5, -0.5])
  tokens = jnp.full((n, steps), MASK)
  sampler = samplers.MaskGITSampler(
    steps=steps,
    schedule=one_by_one,
    order=orders.Halton(roll=False),
    logit_scale=scale,
  )
  got = np.asarray(
    samplers.maskgit.decode(
      keys(n),
      lambda tokens, progress: jnp.broadcast_to(logits, (*tokens.shape, 3)),
      tokens,
      sampler,
      mask_id=MASK,
      grid=(1, steps),
    )
  )
  order = np.argsort(orders.halton_ranks(1, steps))
  for t, position in enumerate(order):  # one position a step
    factor = 1 + (scale - 1) * t / max(steps - 1, 1)
    want = np.asarray(jax.nn.softmax(factor * logits))
    share = np.bincount(got[:, position], minlength=3) / n
    np.testing.assert_allclose(share, want, atol=0.015)


def test_nothing_recompiles_for_other_keys_and_tokens():
  sampler = samplers.MaskGITSampler(steps=4)
  tokens = decoding.some_tokens()
  before = decoding.run._cache_size()
  a = decoding.run(sampler, keys(4), tokens)
  b = decoding.run(samplers.MaskGITSampler(steps=4), keys(4), tokens)
  np.testing.assert_array_equal(a, b)
  decoding.run(sampler, keys(4, 1), tokens[::-1])
  assert decoding.run._cache_size() == before + 1


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'steps': 0}, r'steps must be a whole number in \[1, 4096\]; got 0'),
    (
      {'logit_scale': 0.0},
      r'logit_scale must be a finite number in \(0, 10000\]',
    ),
    (
      {'order': 'critic', 'remask': 0.1},
      'the order critic reconsiders all tokens',
    ),
  ],
)
def test_bad_strategies_are_refused(fields, message):
  with pytest.raises(ValueError, match=message):
    samplers.MaskGITSampler(**fields)
