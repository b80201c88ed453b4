"""Laws of the autoregressive transformer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.priors import causal_laws
from tests.priors import tiny
from vq_jax import priors
from vq_jax.utils import trees

MODERN = {
  'norm_type': 'rms',
  'bias': False,
  'qk_norm': 'head',
  'activation': 'swiglu',
  'conditioning': 'adaln_zero',
  'positions': 'rope_2d',
}
FORMS = {
  'published': {},
  'rows and columns': {'positions': 'learned_2d', 'norm': 'post'},
  'modern': MODERN,
  'modern, without classes': {
    **MODERN,
    'conditioning': 'token',
    'vocab': priors.Vocab(codebook_size=14),
  },
  'parent level': {'parent_codebook_size': 5, 'parent_grid': (1, 2)},
}


def make(form, **fields):
  vocab = priors.Vocab(codebook_size=14, num_classes=3, null_class=True)
  return tiny.make(
    priors.AutoregressiveTransformer,
    **{'vocab': vocab, **FORMS[form], **fields},
  )


def given(prior):
  extra = {}
  if prior.vocab.num_classes:
    extra['label'] = jnp.array([0, 3])
  if prior.parent_grid is not None:
    extra['condition'] = jnp.array([[0, 1], [4, 3]])
  return extra


@pytest.mark.parametrize('form', FORMS)
def test_causality_by_gradients(form):
  prior = make(form)
  causal_laws.check_every_earlier_token_counts_and_no_other(prior, given(prior))


@pytest.mark.parametrize('form', FORMS)
def test_cached_steps_equal_the_full_pass(form):
  prior = make(form)
  causal_laws.check_cached_steps_equal_the_full_pass(prior, given(prior))


@pytest.mark.parametrize('form', ['published', 'modern'])
def test_unrolled_blocks_have_the_same_cached_steps(form):
  prior = make(form)
  causal_laws.check_cached_steps_equal_the_full_pass(
    make(form, scan=False), given(prior)
  )
  tokens = jnp.arange(2 * prior.num_tokens).reshape(2, -1) % 14
  variables = prior.init(jax.random.key(0), tokens, **given(prior))
  variables = jax.tree.map(lambda x: x + 0.1, variables)
  other, unrolled = priors.unroll(prior, variables)
  assert priors.is_scanned(prior)
  assert not priors.is_scanned(other)
  np.testing.assert_allclose(
    other.apply(unrolled, tokens, **given(prior)),
    prior.apply(variables, tokens, **given(prior)),
    atol=1e-5,
  )


def test_unrolled_blocks_keep_their_caches_too():
  prior = make('published', scan=False)
  causal_laws.check_cached_steps_equal_the_full_pass(prior, given(prior))


def test_half_precision():
  prior = make('modern')
  causal_laws.check_bfloat16_stays_near_float32(prior, given(prior), atol=0.1)


def test_dropout():
  prior = make('published', dropout=0.5)
  causal_laws.check_dropout_acts_only_in_training(prior, given(prior))


@pytest.mark.parametrize('form', ['published', 'modern', 'parent level'])
def test_it_learns(form):
  prior = make(form, dropout=0.0)
  causal_laws.check_it_memorizes_a_grid(prior, given(prior))


@pytest.mark.parametrize('form', ['published', 'modern', 'parent level'])
def test_label_and_parent_level_reach_every_logit(form):
  prior = make(form)
  extra = given(prior)
  variables = causal_laws.sample_variables(prior, extra)
  tokens = causal_laws.sample_tokens(prior)
  want = prior.apply(variables, tokens, **extra)
  for name, value in extra.items():
    other = {**extra, name: jnp.flip(value, axis=0)}
    got = prior.apply(variables, tokens, **other)
    assert np.abs(got - want).max(axis=-1).min() > 1e-3, name


def count(width, layers, codebook_size, grid):
  prior = tiny.make(
    priors.AutoregressiveTransformer,
    vocab=priors.Vocab(codebook_size=codebook_size, num_classes=1000),
    grid=grid,
    layers=layers,
    width=width,
    heads=16,
    mlp_width=4 * width,
  )
  shapes = jax.eval_shape(
    lambda: prior.init(
      jax.random.key(0),
      jnp.zeros((1, prior.num_tokens), jnp.int32),
      label=jnp.zeros(1, jnp.int32),
    )
  )
  return trees.count(shapes)


def test_the_published_sizes_of_vqgan():
  """Both as the paper rounds them, table 8."""
  assert round(count(1024, 24, 1024, (16, 16)) / 1e6) in range(305, 308)
  assert round(count(1536, 48, 16384, (16, 16)) / 1e9, 1) == 1.4


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'label': None}, r'label must be int32 \[B\]'),
    ({'condition': None}, r'parent level as condition, \[B, 2\]'),
    ({'condition': jnp.zeros((2, 3), jnp.int32)}, r'got \(2, 3\)'),
  ],
)
def test_missing_inputs_are_named(change, message):
  prior = make('parent level')
  extra = given(prior)
  variables = causal_laws.sample_variables(prior, extra)
  tokens = causal_laws.sample_tokens(prior)
  with pytest.raises(ValueError, match=message):
    prior.apply(variables, tokens, **{**extra, **change})
  with pytest.raises(ValueError, match=message):
    prior.apply(variables, 2, **{**extra, **change}, method='start')


def test_unexpected_inputs_are_named():
  prior = make('published')
  extra = given(prior)
  variables = causal_laws.sample_variables(prior, extra)
  tokens = causal_laws.sample_tokens(prior)
  with pytest.raises(ValueError, match='condition must be None'):
    prior.apply(variables, tokens, **extra, condition=tokens)
  with pytest.raises(ValueError, match=r'tokens must be \[B, 12\]'):
    prior.apply(variables, tokens[:, 1:], **extra)
  unconditional = make('modern, without classes')
  with pytest.raises(ValueError, match='label must be None'):
    unconditional.init(jax.random.key(0), tokens, **extra)


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    (
      {'activation': 'relu'},
      "activation must be 'gelu' or .*; got 'relu'",
    ),
    ({'positions': 'sine'}, "positions must be 'learned' or"),
    ({'conditioning': 'film'}, "conditioning must be 'token' or"),
  ],
)
def test_unknown_choices_are_named(fields, message):
  with pytest.raises(ValueError, match=message):
    make('published', **fields)


def test_adaln_needs_classes():
  prior = make('modern', vocab=priors.Vocab(codebook_size=14))
  with pytest.raises(ValueError, match='needs a vocabulary with classes'):
    prior.init(jax.random.key(0), causal_laws.sample_tokens(prior))
