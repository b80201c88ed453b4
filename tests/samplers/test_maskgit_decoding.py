"""Laws of MaskGIT's parallel decoding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.golden import maskgit_transformer as golden
from vq_jax import samplers
from vq_jax.samplers import schedules

GREEDY = samplers.TokenChoice(temperature=0)
MASK = 10


def golden_logits(tokens, progress):
  del progress
  return golden.PRIOR.apply(
    {'params': golden.params()}, tokens, label=golden.VECTORS['labels']
  )


@pytest.mark.parametrize('steps', [1, 4, 8])
def test_greedy_tokens_equal_the_published_ones(steps):
  strategy = samplers.MaskGITDecoding(
    steps=steps, choice_temperature=0, choice=GREEDY
  )
  tokens = jnp.full((3, 36), golden.VOCAB.mask_id)
  got = samplers.decode(
    jax.random.key(0),
    golden_logits,
    tokens,
    strategy,
    mask_id=golden.VOCAB.mask_id,
    trace=True,
  )
  np.testing.assert_array_equal(got, golden.VECTORS[f'greedy_{steps}'])


def test_partly_masked_tokens_equal_the_published_ones():
  strategy = samplers.MaskGITDecoding(
    steps=6, choice_temperature=0, choice=GREEDY
  )
  tokens = jnp.where(
    golden.VECTORS['mask'], golden.VOCAB.mask_id, golden.VECTORS['indices']
  )
  got = samplers.decode(
    jax.random.key(0),
    golden_logits,
    tokens,
    strategy,
    mask_id=golden.VOCAB.mask_id,
    trace=True,
  )
  np.testing.assert_array_equal(got, golden.VECTORS['partial_6'])


@pytest.mark.parametrize(
  ('steps', 'counts'),
  [
    (8, [251, 236, 212, 181, 142, 97, 49, 0]),
    (12, [253, 247, 236, 221, 203, 181, 155, 127, 97, 66, 33, 0]),
  ],
)
def test_masked_counts_equal_the_published_ones(steps, counts):
  """The published last count is 1, of a position decided all the same."""
  strategy = samplers.MaskGITDecoding(steps=steps)
  now, got = jnp.array([256]), []
  for t in range(steps):
    unknown = jnp.stack([jnp.array([256]), now], axis=1)
    now = samplers.maskgit.remask_counts(strategy, t, unknown, 256)
    got.append(int(now[0]))
  assert got == counts


def random_logits(tokens, progress):
  del progress
  key = jax.random.fold_in(jax.random.key(7), tokens.sum())
  return jax.random.normal(key, (*tokens.shape, MASK))


@pytest.mark.parametrize('steps', [1, 3, 8, 40])
@pytest.mark.parametrize(
  'schedule',
  [
    schedules.cosine,
    schedules.linear,
    schedules.square,
    schedules.cubic,
    schedules.sqrt,
    schedules.log,
    schedules.arccos,
    schedules.exp,
  ],
)
def test_each_position_is_decided_once_and_given_tokens_stay(steps, schedule):
  given = jnp.arange(20)[None] % MASK
  tokens = jnp.stack(
    [
      jnp.full(20, MASK),
      jnp.where(jnp.arange(20) < 13, MASK, given[0]),
      given[0],
      jnp.where(jnp.arange(20) == 4, MASK, given[0]),
    ]
  )
  strategy = samplers.MaskGITDecoding(steps=steps, schedule=schedule)
  seen = []  # the tokens that each step was given

  def spy(tokens, progress):
    jax.debug.callback(
      lambda x: seen.append(np.asarray(x)), tokens, ordered=True
    )
    return random_logits(tokens, progress)

  final = np.asarray(
    samplers.decode(jax.random.key(0), spy, tokens, strategy, mask_id=MASK)
  )
  jax.effects_barrier()
  assert (final >= 0).all() and (final < MASK).all()
  states = [*seen, final]
  for before, after in zip(states, states[1:], strict=False):
    known = before != MASK
    np.testing.assert_array_equal(after[known], before[known])
    newly = (known != (after != MASK)).sum(axis=1)
    unknown = (~known).sum(axis=1)
    assert (newly[unknown > 0] >= 1).all()


def test_one_greedy_step_is_the_argmax():
  tokens = jnp.full((2, 9), MASK)
  strategy = samplers.MaskGITDecoding(steps=1, choice=GREEDY)
  got = samplers.decode(
    jax.random.key(0), random_logits, tokens, strategy, mask_id=MASK
  )
  np.testing.assert_array_equal(got, random_logits(tokens, 0).argmax(-1))


def test_strategy_is_static_under_jit():
  @jax.jit(static_argnames='strategy')
  def run(rng, strategy):
    tokens = jnp.full((2, 9), MASK)
    return samplers.decode(rng, random_logits, tokens, strategy, mask_id=MASK)

  a = run(jax.random.key(0), samplers.MaskGITDecoding(steps=4))
  b = run(jax.random.key(0), samplers.MaskGITDecoding(steps=4))
  np.testing.assert_array_equal(a, b)
  assert run._cache_size() == 1


def test_choice_temperature_decides_which_positions_go_first():
  """Without noise the sure positions are kept, with much noise any."""
  sure = jnp.where(jnp.arange(16) < 4, 5.0, 0.1)

  def logits_fn(tokens, progress):
    del progress
    logits = jnp.zeros((*tokens.shape, MASK))
    return logits.at[..., 0].set(sure[None])

  def first(temperature):
    strategy = samplers.MaskGITDecoding(
      steps=4,
      schedule=schedules.linear,
      choice_temperature=temperature,
      choice=GREEDY,
    )
    seen = []

    def spy(tokens, progress):
      jax.debug.callback(
        lambda x: seen.append(np.asarray(x)), tokens, ordered=True
      )
      return logits_fn(tokens, progress)

    samplers.decode(
      jax.random.key(3), spy, jnp.full((64, 16), MASK), strategy, mask_id=MASK
    )
    jax.effects_barrier()
    return (seen[1] != MASK)[:, :4].mean()

  assert first(0.0) == 1.0
  assert first(100.0) < 0.5


def test_bad_strategies_are_refused():
  with pytest.raises(ValueError, match='at least one step'):
    samplers.MaskGITDecoding(steps=0)
  with pytest.raises(ValueError, match='temperature must be >= 0'):
    samplers.TokenChoice(temperature=-1.0)
