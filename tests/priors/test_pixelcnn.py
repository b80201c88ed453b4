"""Laws of Gated PixelCNN."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.priors import causal_laws
from vq_jax.priors import pixelcnn
from vq_jax.priors import vocab as vocab_lib
from vq_jax.utils import trees

LABELLED = vocab_lib.Vocab(codebook_size=23, num_classes=3, null_class=True)
PLAIN = vocab_lib.Vocab(codebook_size=23)


def tiny(**fields):
  """Four layers of 3 x 3 reach from any pixel to any on a 4 x 5 grid."""
  defaults = {
    'vocab': LABELLED,
    'grid': (4, 5),
    'layers': 4,
    'channels': 8,
    'first_kernel': 3,
    'head_channels': 12,
  }
  return pixelcnn.PixelCNN(**{**defaults, **fields})


def given(prior):
  return {'label': jnp.array([3, 1])} if prior.vocab.num_classes else {}


def test_every_earlier_token_counts_and_no_other():
  prior = tiny()
  causal_laws.check_every_earlier_token_counts_and_no_other(prior, given(prior))


def test_a_token_affects_only_later_logits():
  prior = tiny()
  causal_laws.check_a_token_affects_only_later_logits(prior, given(prior))


@pytest.mark.parametrize(
  'fields',
  [
    {},
    {'vocab': PLAIN, 'layers': 1, 'first_kernel': 7},
    {'first_kernel': 5, 'kernel': 5, 'layers': 3, 'grid': (5, 3)},
    {'kernel': 1, 'grid': (1, 4)},
  ],
)
def test_cached_steps_equal_the_full_pass(fields):
  prior = tiny(**fields)
  causal_laws.check_cached_steps_equal_the_full_pass(prior, given(prior))


def test_bfloat16_stays_near_float32():
  prior = tiny()
  causal_laws.check_bfloat16_stays_near_float32(prior, given(prior), atol=0.05)


def test_dropout_acts_only_in_training():
  prior = tiny(dropout=0.5)
  causal_laws.check_dropout_acts_only_in_training(prior, given(prior))


def test_it_memorizes_a_grid():
  prior = tiny()
  causal_laws.check_it_memorizes_a_grid(prior, given(prior))


def test_the_label_counts_at_every_position():
  prior = tiny()
  tokens = causal_laws.sample_tokens(prior)
  variables = causal_laws.sample_variables(prior, given(prior))
  apply = jax.jit(prior.apply)
  moved = np.abs(
    apply(variables, tokens, label=jnp.array([0, 1]))
    - apply(variables, tokens, label=jnp.array([2, 3]))
  )
  assert moved.max(axis=-1).min() > 1e-3


def test_no_weight_is_masked():
  """A layer's windows are half a square: what lies above, and to the left."""
  prior = pixelcnn.PixelCNN(vocab=PLAIN, grid=(32, 32), layers=2)
  shapes = jax.eval_shape(
    lambda: prior.init(jax.random.key(0), jnp.zeros((1, 1024), jnp.int32))
  )['params']
  c, hidden, k = 128, 512, 23

  def layer(above, left):
    wide = 2 * c
    convolutions = (above + left) * c * wide + 2 * wide
    return convolutions + wide * wide + c * c + c

  want = layer(3 * 7, 3) + layer(2 * 3, 2)
  want += k * c + (c + 1) * hidden + (hidden + 1) * k
  assert trees.count(shapes) == want


def test_wrong_inputs_are_named():
  prior = tiny()
  tokens, label = causal_laws.sample_tokens(prior), jnp.array([0, 1])
  variables = causal_laws.sample_variables(prior, given(prior))
  with pytest.raises(ValueError, match=r'tokens must be \[B, 20\]'):
    prior.apply(variables, tokens[:, 1:], label=label)
  with pytest.raises(ValueError, match='label must be int32'):
    prior.apply(variables, tokens)
  with pytest.raises(ValueError, match='label must be int32'):
    prior.apply(variables, 2, method='start')
  with pytest.raises(ValueError, match='condition must be None'):
    prior.apply(variables, tokens, label=label, condition=tokens)
  with pytest.raises(ValueError, match='label must be None'):
    tiny(vocab=PLAIN).apply(variables, tokens, label=label)


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'kernel': 4}, 'kernel must be odd'),
    ({'first_kernel': 1}, 'at least 3'),
    ({'layers': 0}, 'layers must be a whole number of at least 1'),
  ],
)
def test_impossible_fields_are_refused(fields, message):
  with pytest.raises(ValueError, match=message):
    prior = tiny(**fields)
    causal_laws.sample_variables(prior, given(prior))
