"""Laws of the samplers as they are called: a prior, its variables, tokens."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.samplers.keys import keys
from tests.utils.variables import random_variables
from vq_jax import priors
from vq_jax import samplers

VOCAB = priors.Vocab(codebook_size=8, num_classes=2, null_class=True)
GRID, N = (2, 3), 6
CAUSAL = priors.PixelCNN(vocab=VOCAB, grid=GRID, layers=1, channels=4)
MASKED = priors.MaskGIT(
  vocab=VOCAB,
  grid=GRID,
  transformer=priors.TransformerConfig(layers=1, width=8, heads=2, mlp_width=8),
)
TOKENS = jnp.array([[0] * N, [5, 0, 3, 0, 0, 7], [1, 2, 3, 4, 5, 6]])
KNOWN = TOKENS > 0
LABEL = jnp.array([0, 1, 1])


def call(prior, sampler, **options):
  variables = random_variables(prior, TOKENS, seed=0, label=LABEL)
  variables = jax.tree.map(lambda x: 3 * x, variables)
  return np.asarray(
    jax.jit(functools.partial(sampler, **options), static_argnums=1)(
      keys(3), prior, variables, TOKENS, KNOWN, label=LABEL
    )
  ), variables


def full_pass(prior, variables):
  """A step function without a cache: one pass over all tokens each time."""
  nothing = jnp.full_like(LABEL, VOCAB.null_label)
  labels = jnp.stack([LABEL, nothing], axis=1).reshape(-1)

  def step(tokens, previous, position):
    # At position 0 this writes the last token, which no position reads.
    tokens = tokens.at[:, position - 1].set(previous)
    logits = prior.apply(variables, tokens, label=labels)
    logits = jax.lax.dynamic_index_in_dim(logits, position, 1, keepdims=False)
    return logits, tokens

  return step


def test_the_cache_changes_no_token():
  sampler = samplers.AutoregressiveSampler(guidance=1.5, top_k=5)
  got, variables = call(CAUSAL, sampler)
  guidance = sampler.make_guidance()
  want = samplers.autoregressive.decode(
    keys(3),
    guidance.step_fn(full_pass(CAUSAL, variables), N),
    jnp.zeros((6, N), jnp.int32),
    TOKENS,
    KNOWN,
    sampler.make_choice(),
  )
  np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
  ('prior', 'sampler'),
  [
    (CAUSAL, samplers.AutoregressiveSampler()),
    (MASKED, samplers.MaskGITSampler(steps=2, guidance=1.0)),
  ],
)
def test_known_tokens_stay_and_the_trace_ends_in_the_result(prior, sampler):
  got, _ = call(prior, sampler)
  trace, _ = call(prior, sampler, trace=True)
  assert trace.shape == (3, 2, N)
  np.testing.assert_array_equal(trace[:, -1], got)
  for tokens in (got, trace[:, 0]):
    np.testing.assert_array_equal(tokens[KNOWN], np.asarray(TOKENS)[KNOWN])
  assert (got < VOCAB.codebook_size).all() and (got >= 0).all()


def test_no_row_of_a_trace_depends_on_later_rows():
  trace, _ = call(CAUSAL, samplers.AutoregressiveSampler(), trace=True)
  np.testing.assert_array_equal(trace[:, 0, 3:], TOKENS[:, 3:])
  np.testing.assert_array_equal(trace[:, 0, :3], trace[:, 1, :3])


def test_a_callable_schedule_equals_the_named_one():
  named = samplers.MaskGITSampler(schedule='arccos')
  given = samplers.MaskGITSampler(schedule=samplers.schedules.arccos)
  np.testing.assert_array_equal(named.masked_counts(9), given.masked_counts(9))


def test_a_sampler_refuses_the_other_kind_of_prior():
  with pytest.raises(ValueError, match='use an AutoregressiveSampler'):
    call(CAUSAL, samplers.MaskGITSampler())
  with pytest.raises(ValueError, match='use a MaskGITSampler'):
    call(MASKED, samplers.AutoregressiveSampler())


def test_the_kind_of_prior_decides_the_sampler():
  options = {'top_k': 3, 'guidance': 1.0}
  assert samplers.sampler_for(
    CAUSAL, options
  ) == samplers.AutoregressiveSampler(**options)
  assert samplers.sampler_for(MASKED, options) == samplers.MaskGITSampler(
    **options
  )
  with pytest.raises(ValueError, match='one token after the other'):
    samplers.sampler_for(CAUSAL, {'steps': 3})
  with pytest.raises(ValueError, match="Did you mean 'guidance'"):
    samplers.sampler_for(CAUSAL, {'guidence': 3})
