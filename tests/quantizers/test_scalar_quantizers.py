"""Laws of the quantizers that have no table: FSQ, LFQ, BSQ."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.quantizers import cases
from vq_jax import quantizers

FSQ_LEVELS = [(8, 6, 5), (3, 3, 4, 2), (2, 2), (7, 5, 5, 5), (16,), (9, 2, 11)]


def all_codes(quantizer):
  indices = jnp.arange(quantizer.codebook_size)
  return np.asarray(cases.lookup(quantizer, {}, indices)), indices


@pytest.mark.parametrize('levels', FSQ_LEVELS)
def test_every_index_comes_back(levels):
  """Each code is another, and a latent that is bounded to it finds it."""
  quantizer = quantizers.FSQ(levels)
  codes, indices = all_codes(quantizer)
  assert len(np.unique(codes, axis=0)) == np.prod(levels)
  columns = []
  for code, n in zip(codes.T.astype(np.float64), levels, strict=True):
    offset = 0.5 if n % 2 == 0 and n > 2 else 0.0
    half = 1.0 if n == 2 else (n - 1) * 0.999 / 2
    inside = np.clip((code * (n // 2) + offset) / half, -0.999, 0.999)
    columns.append(np.arctanh(inside) - np.tan(offset / half))
  z = np.stack(columns, axis=-1).astype(np.float32)
  quantized, _ = cases.run(quantizer, {}, z)
  np.testing.assert_array_equal(quantized.indices, indices)
  np.testing.assert_array_equal(quantized.quantized, codes)


@pytest.mark.parametrize('levels', FSQ_LEVELS)
def test_levels_are_even_steps_between_minus_one_and_one(levels):
  codes, _ = all_codes(quantizers.FSQ(levels))
  for i, n in enumerate(levels):
    values = np.unique(codes[:, i])
    want = [-1, 1] if n == 2 else (np.arange(n) - n // 2) / (n // 2)
    np.testing.assert_allclose(values, want, atol=1e-7)
    assert values.min() == -1 and values.max() <= 1


def test_the_first_dimension_is_the_fastest():
  codes, _ = all_codes(quantizers.FSQ((3, 2, 4)))
  np.testing.assert_array_equal(codes[:3, 0], [-1, 0, 1])
  np.testing.assert_array_equal(codes[:6:3, 1], [-1, 1])
  np.testing.assert_array_equal(codes[::6, 2], [-1, -0.5, 0, 0.5])
  assert len(np.unique(codes[:3, 1:], axis=0)) == 1


@pytest.mark.parametrize('levels', FSQ_LEVELS)
def test_however_far_a_latent_lies_it_gets_an_end(levels):
  quantizer = quantizers.FSQ(levels)
  far = np.array([[-1e6], [1e6]], np.float32) * np.ones(len(levels), np.float32)
  quantized, _ = cases.run(quantizer, {}, far)
  assert quantized.indices.tolist() == [0, np.prod(levels) - 1]


def test_the_origin_is_in_the_middle_and_a_binary_zero_is_negative():
  quantized, _ = cases.run(
    quantizers.FSQ((5, 8, 2)), {}, jnp.zeros((1, 3), jnp.float32)
  )
  np.testing.assert_array_equal(quantized.quantized, [[0, 0, -1]])


def test_normal_latents_choose_both_signs_alike():
  """The shift of other even numbers would make binary dimensions constant."""
  quantizer = quantizers.FSQ((2, 2, 2, 2))
  quantized, _ = cases.run(quantizer, {}, cases.latents(500))
  assert quantized.stats['batch_usage'] == 1
  np.testing.assert_allclose(quantized.quantized.mean(axis=0), 0, atol=0.15)


def test_large_indices_are_exact_integers():
  """More codes than a float32 has integers."""
  quantizer = quantizers.FSQ((8,) * 9)
  ends = np.array([0, 2**24 + 1, 2**27 - 1], np.int32)
  codes = np.asarray(
    jax.jit(lambda i: quantizer.apply({}, i, method='lookup'))(ends)
  )
  digits = (codes * 4 + 4).astype(np.int64)
  np.testing.assert_array_equal((digits * 8 ** np.arange(9)).sum(-1), ends)


def test_fsq_adds_no_loss():
  quantized, after = cases.step(
    quantizers.FSQ((8, 6, 5, 2)), {}, cases.latents(9)
  )
  assert quantized.loss == 0 and not after


@pytest.mark.parametrize('levels', [(), (1, 3), (8,) * 11])
def test_wrong_levels_are_named(levels):
  with pytest.raises(ValueError, match='levels') as error:
    quantizers.FSQ(levels).init(jax.random.key(0), jnp.zeros((1, len(levels))))
  assert str(levels) in str(error.value)


# Without the state that counts updates.
BSQ = functools.partial(quantizers.BSQ, entropy_ramp_steps=0)
BINARY = [quantizers.LFQ, BSQ]


@pytest.mark.parametrize('make', BINARY)
@pytest.mark.parametrize('bits', [1, 5, 12])
def test_every_binary_index_comes_back(make, bits):
  quantizer = make(bits)
  codes, indices = all_codes(quantizer)
  quantized, _ = cases.run(quantizer, {}, 3 * codes)
  np.testing.assert_array_equal(quantized.indices, indices)
  np.testing.assert_array_equal(quantized.quantized, codes)
  assert len(np.unique(codes, axis=0)) == 2**bits


@pytest.mark.parametrize('make', BINARY)
def test_the_first_dimension_is_the_least_significant_bit(make):
  codes, _ = all_codes(make(3))
  np.testing.assert_array_equal(codes[1] > 0, [True, False, False])
  np.testing.assert_array_equal(codes[4] > 0, [False, False, True])


@pytest.mark.parametrize('make', BINARY)
def test_a_zero_is_negative(make):
  quantized, _ = cases.run(make(4), {}, jnp.zeros((2, 4), jnp.float32))
  np.testing.assert_array_equal(quantized.indices, [0, 0])
  assert np.isfinite(quantized.loss)


@pytest.mark.parametrize('make', BINARY)
@pytest.mark.parametrize('bits', [0, 31])
def test_a_wrong_number_of_bits_is_named(make, bits):
  with pytest.raises(ValueError, match=f'from 1 to 30.*got {bits}'):
    make(bits).init(jax.random.key(0), jnp.zeros((1, bits)))


def test_spherical_codes_have_unit_length_and_bounded_error():
  codes, _ = all_codes(BSQ(6))
  np.testing.assert_allclose(np.square(codes).sum(axis=-1), 1, rtol=1e-6)
  z = np.random.default_rng(0).normal(size=(500, 6)).astype(np.float32)
  u = z / np.linalg.norm(z, axis=-1, keepdims=True)
  quantized, _ = cases.run(BSQ(6), {}, z)
  assert (np.square(u - quantized.quantized).sum(axis=-1) < 2).all()


@pytest.mark.parametrize(
  ('make', 'hot'),
  [
    (BSQ, {}),
    (quantizers.LFQ, {'entropy_temperature': 1.0, 'commitment_weight': 0.0}),
  ],
)
def test_at_which_temperature_the_entropy_loss_moves_dead_bits(make, hot):
  """Not at 0.01, once all latents lie far on one side; BSQ's default does."""
  z = np.random.default_rng(0).uniform(1, 2, (256, 9)).astype(np.float32)

  def slope(**fields):
    def loss(z):
      return cases.run(make(9, **fields), {}, z)[0].loss

    return np.abs(jax.grad(loss)(jnp.asarray(z))).sum()

  moved = slope(**hot)
  assert moved > 1e-3
  assert slope(entropy_temperature=0.01, commitment_weight=0.0) < 1e-9 * moved


def test_bsq_has_the_published_loss():
  """No commitment; an entropy loss of weight 0.1, T = 1."""
  z = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
  u = z.astype(np.float64) / np.linalg.norm(z, axis=-1, keepdims=True)
  one = 1 / (1 + np.exp(-4 * u / np.sqrt(4)))

  def entropy(p):
    return -(p * np.log(p) + (1 - p) * np.log(1 - p)).sum(axis=-1)

  want = 0.1 * (entropy(one).mean() - entropy(one.mean(axis=0)))
  got = cases.run(BSQ(4), {}, z)[0].loss
  np.testing.assert_allclose(got, want, rtol=1e-4)


@pytest.mark.parametrize(
  ('updates', 'scale'), [(0, 3.0), (500, 2.5), (2000, 1.0), (9000, 1.0)]
)
def test_the_weight_of_the_entropy_loss_of_bsq_falls(updates, scale):
  z = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
  state = {'codebook': {'updates': jnp.int32(updates)}}
  quantized, after = cases.step(quantizers.BSQ(4), state, z)
  want = scale * 0.1 * quantized.stats['entropy_loss']
  np.testing.assert_allclose(quantized.loss, want, rtol=1e-5)
  assert after['codebook']['updates'] == updates + 1


def test_lookup_free_codes_have_the_scale():
  codes, _ = all_codes(quantizers.LFQ(4, scale=0.25))
  np.testing.assert_array_equal(np.abs(codes), 0.25)


def test_many_bits_take_the_entropy_over_groups():
  """With groups as small as a bit, that of independent bits."""
  z = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
  losses = {}
  for group in [1, 4]:
    quantizer = quantizers.LFQ(4, entropy_temperature=1.0, entropy_bits=group)
    stats = cases.run(quantizer, {}, z)[0].stats
    losses[group] = float(stats['entropy_loss'])
  one = 1 / (1 + np.exp(-4 * z.astype(np.float64)))

  def entropy(p):
    return -(p * np.log(p) + (1 - p) * np.log(1 - p)).sum(axis=-1)

  want = entropy(one).mean() - entropy(one.mean(axis=0))
  np.testing.assert_allclose(losses[1], want, rtol=1e-4)
  assert losses[1] < losses[4]


def test_the_most_bits_work():
  quantizer = quantizers.LFQ(30)
  indices = jnp.array([0, 1, 2**29, 2**30 - 1], jnp.int32)
  codes = jax.jit(lambda i: quantizer.apply({}, i, method='lookup'))(indices)
  bits = (np.asarray(codes) > 0).astype(np.int64)
  np.testing.assert_array_equal((bits << np.arange(30)).sum(axis=-1), indices)


@pytest.mark.parametrize(
  'quantizer',
  [
    quantizers.LFQ(30),
    quantizers.BSQ(30),
    quantizers.FSQ((2,) * 30),
  ],
)
def test_no_array_has_the_size_of_a_huge_codebook(quantizer):
  """Of 2^30 codes, which would take 4 GB; the statistics are exact."""
  distinct = np.random.default_rng(0).normal(size=(3, 30))
  z = distinct[[0, 1, 1, 2, 1, 0]].astype(np.float32)
  variables = cases.init(quantizer)
  compiled = (
    jax.jit(functools.partial(quantizer.apply, train=True, mutable='codebook'))
    .lower(variables, z)
    .compile()
  )
  assert compiled.memory_analysis().temp_size_in_bytes < 2**22
  quantized, _ = compiled(variables, z)
  np.testing.assert_allclose(quantized.stats['batch_usage'], 3 / 2**30)
  p = np.array([2, 3, 1]) / 6
  np.testing.assert_allclose(
    quantized.stats['batch_perplexity'], np.exp(-(p * np.log(p)).sum()), 1e-5
  )


@pytest.mark.parametrize('make', BINARY)
def test_an_entropy_loss_of_no_weight_is_not_computed(make):
  quantizer = make(5, entropy_weight=0.0)
  z = cases.latents(40)[:, [0, 1, 2, 3, 0]]
  quantized, _ = cases.run(quantizer, cases.init(quantizer), z)
  assert 'entropy_loss' not in quantized.stats
