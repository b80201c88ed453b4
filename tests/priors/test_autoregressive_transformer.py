"""Laws of the autoregressive transformer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.priors import causal_laws
from vq_jax import priors
from vq_jax.utils import trees

MODERN = {
  'norm_type': 'rms',
  'bias': False,
  'qk_norm': 'head',
  'mlp': 'swiglu',
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
  'coarser codes': {'condition_size': 5, 'condition_grid': (2, 2)},
}


def tiny(form, **fields):
  defaults = {
    'vocab': priors.Vocab(codebook_size=14, num_classes=3, null_class=True),
    'grid': (3, 4),
    'layers': 2,
    'width': 16,
    'heads': 2,
    'mlp_width': 32,
  }
  return priors.AutoregressiveTransformer(
    **{**defaults, **FORMS[form], **fields}
  )


def given(prior):
  extra = {}
  if prior.vocab.num_classes:
    extra['label'] = jnp.array([0, 3])
  if prior.condition_grid is not None:
    extra['condition'] = jnp.array([[0, 1, 2, 3], [4, 3, 2, 1]])
  return extra


@pytest.mark.parametrize('form', FORMS)
def test_causality_by_gradients(form):
  prior = tiny(form)
  causal_laws.check_every_earlier_token_counts_and_no_other(prior, given(prior))


@pytest.mark.parametrize('form', FORMS)
def test_cached_steps_equal_the_full_pass(form):
  prior = tiny(form)
  causal_laws.check_cached_steps_equal_the_full_pass(prior, given(prior))


def test_unrolled_blocks_keep_their_caches_too():
  prior = tiny('published', scan=False)
  causal_laws.check_cached_steps_equal_the_full_pass(prior, given(prior))


def test_half_precision():
  prior = tiny('modern')
  causal_laws.check_bfloat16_stays_near_float32(prior, given(prior), atol=0.1)


def test_dropout():
  prior = tiny('published', dropout=0.5)
  causal_laws.check_dropout_acts_only_in_training(prior, given(prior))


@pytest.mark.parametrize('form', ['published', 'modern', 'coarser codes'])
def test_it_learns(form):
  prior = tiny(form, dropout=0.0)
  causal_laws.check_it_learns_a_grid_by_heart(prior, given(prior))


@pytest.mark.parametrize('form', ['published', 'modern', 'coarser codes'])
def test_label_and_coarser_codes_reach_every_logit(form):
  prior = tiny(form)
  extra = given(prior)
  variables = causal_laws.draw_variables(prior, extra)
  tokens = causal_laws.draw_tokens(prior)
  want = prior.apply(variables, tokens, **extra)
  for name, value in extra.items():
    other = {**extra, name: jnp.flip(value, axis=0)}
    got = prior.apply(variables, tokens, **other)
    assert np.abs(got - want).max(axis=-1).min() > 1e-3, name


def count(width, layers, codebook_size, grid):
  prior = priors.AutoregressiveTransformer(
    vocab=priors.Vocab(codebook_size=codebook_size, num_classes=1000),
    grid=grid,
    layers=layers,
    width=width,
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
    ({'condition': None}, r'needs the coarser codes as condition, \[B, 4\]'),
    ({'condition': jnp.zeros((2, 3), jnp.int32)}, r'got \(2, 3\)'),
  ],
)
def test_what_is_missing_is_named(change, message):
  prior = tiny('coarser codes')
  extra = given(prior)
  variables = causal_laws.draw_variables(prior, extra)
  tokens = causal_laws.draw_tokens(prior)
  with pytest.raises(ValueError, match=message):
    prior.apply(variables, tokens, **{**extra, **change})
  with pytest.raises(ValueError, match=message):
    prior.apply(variables, 2, **{**extra, **change}, method='start')


def test_what_is_too_much_is_named():
  prior = tiny('published')
  extra = given(prior)
  variables = causal_laws.draw_variables(prior, extra)
  tokens = causal_laws.draw_tokens(prior)
  with pytest.raises(ValueError, match='condition must be None'):
    prior.apply(variables, tokens, **extra, condition=tokens)
  with pytest.raises(ValueError, match=r'tokens must be \[B, 12\]'):
    prior.apply(variables, tokens[:, 1:], **extra)
  unconditional = tiny('modern, without classes')
  with pytest.raises(ValueError, match='label must be None'):
    unconditional.init(jax.random.key(0), tokens, **extra)


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    (
      {'mlp': 'relu'},
      "mlp must be 'gelu' or 'gelu_exact' or 'swiglu'; got 'relu'",
    ),
    ({'positions': 'sine'}, "positions must be 'learned' or"),
    ({'conditioning': 'film'}, "conditioning must be 'token' or"),
  ],
)
def test_unknown_choices_are_named(fields, message):
  with pytest.raises(ValueError, match=message):
    tiny('published', **fields)


def test_modulation_needs_classes():
  prior = tiny('modern', vocab=priors.Vocab(codebook_size=14))
  with pytest.raises(ValueError, match='needs classes to condition on'):
    prior.init(jax.random.key(0), causal_laws.draw_tokens(prior))
