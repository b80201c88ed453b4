"""Laws of sampling a token from its logits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.samplers.keys import keys
from vq_jax import samplers

LOGITS = np.array([2.0, 0.5, -1.0, 1.0, 0.0, -3.0], np.float32)
SAMPLES = 20_000


def frequencies(logits=LOGITS, **fields):
  choice = samplers.TokenChoice(**fields)
  tiled = jnp.broadcast_to(logits[None], (SAMPLES, len(logits)))
  sampled = jax.jit(choice)(keys(SAMPLES), tiled)
  assert sampled.dtype == jnp.int32
  return np.bincount(sampled, minlength=len(logits)) / SAMPLES


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
  """Which ids may be sampled: bool [..., K]."""
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
    sampled = choice(keys(3, seed), logits)
    assert sampled.dtype == jnp.int32
    np.testing.assert_array_equal(sampled, logits.argmax(-1))


@pytest.mark.parametrize('temperature', [0.5, 1.0, 2.0])
def test_frequencies_follow_the_softmax(temperature):
  """Chi-square with 5 degrees of freedom exceeds 25 once in 7000 seeds."""
  want = softmax(LOGITS / temperature)
  got = frequencies(temperature=temperature)
  assert SAMPLES * np.sum((got - want) ** 2 / want) < 25


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
  assert SAMPLES * np.sum((got[ids] - want) ** 2 / want) < 25


@pytest.mark.parametrize('top_k', [None, 1, 7, 30])
@pytest.mark.parametrize('top_p', [None, 1e-6, 0.3, 0.9, 0.999])
def test_exactly_the_allowed_ids_are_sampled(top_k, top_p):
  rng = np.random.default_rng(1)
  scale = np.array([0.1, 1.0, 4.0], np.float32)[:, None, None]
  logits = np.repeat(rng.normal(size=(3, 1, 40)), 4000, axis=1) * scale
  choice = samplers.TokenChoice(top_k=top_k, top_p=top_p)
  sampled = np.asarray(jax.jit(choice)(keys(3), logits.astype(np.float32)))
  may = allowed(softmax(logits[:, 0]), top_k, top_p)
  for i in range(3):
    counts = np.bincount(sampled[i], minlength=40)
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
    sampled = samplers.TokenChoice(**fields)(keys(3), logits)
    np.testing.assert_array_equal(sampled, logits.argmax(-1))


def test_extreme_temperatures():
  uniform = frequencies(temperature=1e4)
  np.testing.assert_allclose(uniform, np.full(6, 1 / 6), atol=0.015)
  assert frequencies(temperature=0.05)[0] > 0.999


def test_half_precision_reaches_every_token():
  """In bfloat16 a running sum of thousandths would stop long before 1."""
  choice = samplers.TokenChoice()
  sampled = choice(keys(SAMPLES), jnp.zeros((SAMPLES, 1000), jnp.bfloat16))
  counts = np.bincount(sampled, minlength=1000)
  assert counts.min() > 0 and counts.max() < 60  # 20 are expected


@pytest.mark.parametrize('fields', [{}, {'top_k': 5}, {'top_p': 0.99999}])
def test_an_impossible_token_is_never_sampled(fields):
  logits = LOGITS.copy()
  logits[[0, 3]] = -np.inf
  assert not frequencies(logits, **fields)[[0, 3]].any()


@pytest.mark.parametrize('fields', [{}, {'top_k': 5, 'top_p': 0.9}])
def test_an_example_is_sampled_alike_in_any_batch(fields):
  choice = samplers.TokenChoice(**fields)
  logits = jnp.broadcast_to(LOGITS[None, None], (8, 30, 6))
  whole = np.asarray(choice(keys(8), logits))
  np.testing.assert_array_equal(choice(keys(8)[3:5], logits[3:5]), whole[3:5])
  assert (
    len(np.unique(whole, axis=0)) == 8
  )  # and other examples have other samples
  assert len(np.unique(whole, axis=1)[0]) > 1


def test_the_key_of_an_example_depends_on_its_index_in_the_request():
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


# The smallest normal float32 is 1.18e-38, the smallest of all 1.4e-45.
SMALL = (1e-3, 1e-8, 1e-12, 1e-30, 1.2e-38, 1e-45, 5e-324)
PEAKED = 10 * jax.random.normal(jax.random.key(5), (2, 49, 1024))
LIKELIEST = np.asarray(PEAKED).argmax(axis=-1)


def make_maskgit(logits_fn, *, trace=False, **options):
  """Returns MaskGIT's decoding of a grid of 7 x 7, under jit.

  Its argument is handed to `logits_fn`, after the progress.
  """
  sampler = samplers.MaskGITSampler(steps=3, **options)
  given = jnp.where(jnp.arange(49) < 5, PEAKED[0].argmax(-1), 1024)

  @jax.jit
  def run(argument):
    return samplers.maskgit.decode(
      keys(2),
      lambda tokens, progress: logits_fn(tokens, progress, argument),
      jnp.stack([given, jnp.full(49, 1024)]),
      sampler,
      mask_id=1024,
      grid=(7, 7),
      critic_fn=lambda tokens, progress: jnp.cos(tokens * 1.0),
      trace=trace,
    )

  return lambda argument=0: np.asarray(run(argument))


@pytest.mark.parametrize('limits', [{}, {'top_k': 50}, {'top_p': 0.9}])
@pytest.mark.parametrize('temperature', SMALL)
def test_small_temperatures_take_the_likeliest(temperature, limits):
  choice = samplers.TokenChoice(temperature=temperature, **limits)
  sampled = jax.jit(choice)(keys(2), PEAKED)
  np.testing.assert_array_equal(sampled, LIKELIEST)


@pytest.mark.parametrize('top_p', [1e-30, 1.2e-38, 1e-45, 2.3e-309, 5e-324])
def test_small_top_p_keeps_only_the_most_likely_token(top_p):
  sampled = jax.jit(samplers.TokenChoice(top_p=top_p))(keys(2), PEAKED)
  np.testing.assert_array_equal(sampled, LIKELIEST)


@pytest.mark.parametrize('temperature', SMALL)
def test_small_temperatures_in_raster_order(temperature):
  @jax.jit
  def run(keys):
    return samplers.autoregressive.decode(
      keys,
      lambda cache, previous, position: (PEAKED[:, position], cache),
      jnp.zeros(()),
      jnp.zeros((2, 49), jnp.int32),
      jnp.zeros((2, 49), bool),
      samplers.TokenChoice(temperature=temperature),
    )

  np.testing.assert_array_equal(run(keys(2)), LIKELIEST)


SOME_ORDERS = [
  samplers.orders.Confidence(), samplers.orders.Critic(),
  samplers.orders.Halton(), samplers.orders.Random(),
]  # fmt: skip


@pytest.mark.parametrize(
  ('temperature', 'options'),
  [
    *[(temperature, {}) for temperature in SMALL],
    *[(1.2e-38, {'order': order}) for order in SOME_ORDERS[1:]],
    (1e-45, {'order': samplers.orders.Halton()}),
    (1e-12, {'remask': 0.5}),
  ],
)
def test_small_temperatures_in_maskgit(temperature, options):
  decode = make_maskgit(
    lambda tokens, progress, _: PEAKED,
    temperature=temperature,
    logit_scale=1.2,
    **options,
  )
  np.testing.assert_array_equal(decode(), LIKELIEST)


@pytest.mark.parametrize(
  ('temperature', 'limits'),
  [(1e-8, {'top_k': 50, 'top_p': 0.9}), (1.2e-38, {}), (5e-324, {})],
)
def test_small_temperatures_with_guidance(temperature, limits):
  other = 10 * jax.random.normal(jax.random.key(6), PEAKED.shape)
  both = jnp.stack([PEAKED, other], axis=1).reshape(-1, *PEAKED.shape[1:])
  guidance = samplers.Guidance(scale=3, schedule=samplers.guidance.constant)
  guided = guidance.logits_fn(lambda tokens: both)
  decode = make_maskgit(
    lambda tokens, progress, _: guided(tokens, progress),
    temperature=temperature,
    **limits,
    logit_scale=1.2,
  )
  want = np.asarray(PEAKED + 3 * (PEAKED - other)).argmax(axis=-1)
  want[0, :5] = LIKELIEST[0, :5]  # these are given
  np.testing.assert_array_equal(decode(), want)


BAD_LOGITS = [
  ('nan', [np.nan]),
  ('positive infinity', [np.inf]),
  ('both infinities', [np.inf, -np.inf]),
  ('all minus infinity', [-np.inf] * 6),
  ('all nan', [np.nan] * 6),
]
CHOICES = [
  {}, {'temperature': 0}, {'temperature': 1e-30}, {'top_k': 3},
  {'top_p': 0.5}, {'top_k': 3, 'top_p': 0.5, 'temperature': 2},
]  # fmt: skip


@pytest.mark.parametrize('fields', CHOICES)
def test_logits_that_are_no_distribution_give_no_token(fields):
  """And the tokens of the other distributions stay the same."""
  choice = jax.jit(samplers.TokenChoice(**fields))
  clean = np.tile(LOGITS, (len(BAD_LOGITS) + 1, 4, 1))
  want = np.array(choice(keys(len(clean)), clean))
  assert (want >= 0).all()
  dirty = clean.copy()
  for row, (_, values) in zip(dirty, BAD_LOGITS, strict=False):
    row[2, : len(values)] = values
  want[: len(BAD_LOGITS), 2] = -1
  np.testing.assert_array_equal(choice(keys(len(clean)), dirty), want)


@pytest.mark.parametrize('fields', CHOICES)
def test_some_impossible_tokens_are_no_damage(fields):
  logits = np.where(np.arange(6) == 4, 0, -np.inf).astype(np.float32)
  sampled = samplers.TokenChoice(**fields)(keys(3), np.tile(logits, (3, 1)))
  np.testing.assert_array_equal(sampled, 4)


@pytest.mark.parametrize('order', SOME_ORDERS, ids=lambda o: type(o).__name__)
def test_a_nan_of_one_step_invalidates_its_example_alone(order):
  def logits_fn(tokens, progress, bad_step):
    bad = (jnp.arange(1024) == 7) & (jnp.round(progress * 3) == bad_step)
    return PEAKED.at[0].set(jnp.where(bad, jnp.nan, PEAKED[0]))

  decode = make_maskgit(logits_fn, order=order, trace=True)
  want = decode(-1)
  assert (want >= 0).all()
  for step in range(3):
    sampled = decode(step)
    np.testing.assert_array_equal(sampled[1], want[1])
    np.testing.assert_array_equal(sampled[0, :step], want[0, :step])
    assert (sampled[0, step:] == -1).all()
  with pytest.raises(ValueError, match='NaN or infinite'):
    samplers.require_valid(sampled[:, -1])


def test_a_nan_in_raster_order_stays_in_its_example():
  def run(logits):
    return np.asarray(
      samplers.autoregressive.decode(
        keys(2),
        lambda cache, previous, position: (logits[:, position], cache),
        jnp.zeros(()),
        jnp.zeros((2, 49), jnp.int32),
        jnp.zeros((2, 49), bool),
        samplers.TokenChoice(),
      )
    )

  sampled = run(PEAKED.at[0, 20, 3].set(jnp.nan))
  assert sampled[0, 20] == -1
  np.testing.assert_array_equal(sampled[1], run(PEAKED)[1])
