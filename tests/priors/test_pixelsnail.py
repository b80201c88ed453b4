"""Laws of PixelSNAIL."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.priors import causal_laws
from vq_jax.priors import pixelsnail
from vq_jax.priors import vocab as vocab_lib

LABELLED = vocab_lib.Vocab(codebook_size=25, num_classes=3)
PLAIN = vocab_lib.Vocab(codebook_size=25)
PARENT = {'parent_codebook_size': 9, 'parent_grid': (2, 3)}
NO_ATTENTION = {'heads': 0, 'output_layers': 0, 'kernel': 5}


def tiny(**fields):
  defaults = {
    'vocab': LABELLED,
    'grid': (4, 6),
    'blocks': 2,
    'residual_layers': 1,
    'channels': 8,
    'residual_channels': 12,
    'kernel': 3,
    'heads': 2,
    'output_layers': 1,
    'parent_layers': 1,
  }
  return pixelsnail.PixelSNAIL(**{**defaults, **fields})


def given(prior):
  """Labels, and tokens of the parent level that differ from each other."""
  inputs = {}
  if prior.vocab.num_classes:
    inputs['label'] = jnp.array([2, 1])
  if prior.parent_grid:
    n, k = np.prod(prior.parent_grid), prior.parent_codebook_size
    inputs['condition'] = (jnp.arange(2 * n).reshape(2, n) * 4) % k
  return inputs


@pytest.mark.parametrize('fields', [{}, PARENT])
def test_every_earlier_token_counts_and_no_other(fields):
  prior = tiny(**fields)
  causal_laws.check_every_earlier_token_counts_and_no_other(prior, given(prior))


def test_without_attention_it_sees_only_its_windows():
  """Three convolutions of 3 x 3, each one row up and one column to the right.

  No path leads to the right within a row above: this is the blind spot.
  """
  prior = tiny(heads=0, blocks=1, output_layers=0)
  inputs = given(prior)
  variables = causal_laws.sample_variables(prior, inputs, scale=2)
  seen = causal_laws.influence(prior, variables, inputs) > 0
  want = np.zeros((24, 24), bool)
  for i, j in np.ndindex(4, 6):
    for up in range(min(i, 3) + 1):
      left, right = max(j - 3, 0), min(j + up, 5) if up else j - 1
      want[6 * i + j, 6 * (i - up) + left : 6 * (i - up) + right + 1] = True
  np.testing.assert_array_equal(seen, want)


def test_a_token_affects_only_later_logits():
  prior = tiny(**PARENT)
  causal_laws.check_a_token_affects_only_later_logits(prior, given(prior))


@pytest.mark.parametrize(
  'fields',
  [
    PARENT,
    {'vocab': PLAIN},
    {**PARENT, **NO_ATTENTION, 'vocab': PLAIN, 'parent_layers': 0},
    {**NO_ATTENTION, 'grid': (1, 7)},
  ],
)
def test_cached_steps_equal_the_full_pass(fields):
  prior = tiny(**fields)
  causal_laws.check_cached_steps_equal_the_full_pass(prior, given(prior))


def test_bfloat16_stays_near_float32():
  prior = tiny(**PARENT)
  causal_laws.check_bfloat16_stays_near_float32(prior, given(prior), atol=0.2)


def test_dropout_acts_only_in_training():
  prior = tiny(dropout=0.5)
  causal_laws.check_dropout_acts_only_in_training(prior, given(prior))


def test_it_memorizes_a_grid():
  prior = tiny(**PARENT)
  causal_laws.check_it_memorizes_a_grid(prior, given(prior))


def test_a_parent_token_has_an_effect_from_its_first_pixel_on():
  """Each pixel knows the code above it, and those of earlier pixels."""
  prior = tiny(**PARENT, parent_layers=0)
  inputs = given(prior)
  variables = causal_laws.sample_variables(prior, inputs, scale=2)
  seen = causal_laws.influence(
    prior, variables, inputs, table='parent_embedding'
  )
  first = np.array([0, 2, 4, 12, 14, 16])  # pixels at the cells' upper left
  np.testing.assert_array_equal(seen > 0, np.arange(24)[:, None] >= first)


def test_the_parent_layers_read_the_neighbours_of_a_parent_token():
  """With blocks of 3 x 3 the first pixel knows its cell's neighbours too."""
  prior = tiny(**PARENT, parent_layers=1)
  inputs = given(prior)
  variables = causal_laws.sample_variables(prior, inputs, scale=2)
  seen = causal_laws.influence(
    prior, variables, inputs, table='parent_embedding'
  )
  near = [True, True, False, True, True, False]
  np.testing.assert_array_equal(seen[0] > 0, near)


@pytest.mark.parametrize('fields', [{}, PARENT])
def test_the_label_counts_at_every_position(fields):
  prior = tiny(**fields)
  tokens, inputs = causal_laws.sample_tokens(prior), given(prior)
  variables = causal_laws.sample_variables(prior, inputs)
  apply = jax.jit(prior.apply)
  moved = np.abs(
    apply(variables, tokens, **{**inputs, 'label': jnp.array([0, 1])})
    - apply(variables, tokens, **{**inputs, 'label': jnp.array([2, 0])})
  )
  assert moved.max(axis=-1).min() > 1e-3


def test_wrong_inputs_are_named():
  top, prior = tiny(), tiny(**PARENT)
  tokens, right = causal_laws.sample_tokens(prior), given(prior)
  label, condition = right['label'], right['condition']
  variables = causal_laws.sample_variables(prior, right)

  def refuses(prior, message, tokens=tokens, **inputs):
    with pytest.raises(ValueError, match=message):
      prior.apply(variables, tokens, **inputs)
    if len(tokens[0]) == prior.num_tokens:
      with pytest.raises(ValueError, match=message):
        prior.apply(variables, 2, method='start', **inputs)

  refuses(prior, r'tokens must be \[B, 24\]', tokens[:, 1:], **right)
  refuses(prior, 'label must be int32', condition=condition)
  refuses(tiny(vocab=PLAIN), 'label must be None', label=label)
  refuses(top, 'condition must be None', label=label, condition=condition)
  refuses(prior, r'as condition, \[B, 6\]', label=label)
  refuses(
    prior, r'as condition, \[B, 6\]', label=label, condition=condition[:, 1:]
  )


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'heads': 3}, 'channels must be a multiple of heads'),
    ({'kernel': 4}, 'kernel must be odd'),
    ({'kernel': 1}, 'at least 3'),
    ({'parent_codebook_size': 9}, 'both or neither'),
    ({'parent_grid': (2, 3)}, 'both or neither'),
    ({**PARENT, 'parent_grid': (3, 3)}, 'must divide the grid'),
  ],
)
def test_impossible_fields_are_refused(fields, message):
  prior = tiny(**fields)
  with pytest.raises(ValueError, match=message):
    prior.apply({}, causal_laws.sample_tokens(prior), label=jnp.zeros(2, int))


def test_remat_changes_no_gradient():
  prior = tiny()
  extra = given(prior)
  variables = causal_laws.sample_variables(prior, extra)
  tokens = causal_laws.sample_tokens(prior)

  def gradient(prior):
    def loss(variables):
      return jnp.square(prior.apply(variables, tokens, **extra)).mean()

    return jax.jit(jax.grad(loss))(variables)

  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
    gradient(prior),
    gradient(prior.clone(remat=True)),
  )
