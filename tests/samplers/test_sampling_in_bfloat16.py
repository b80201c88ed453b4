"""Sampling with priors that compute in bfloat16."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.priors import tiny
from tests.samplers.keys import keys
from tests.utils.variables import random_variables
from vq_jax import priors
from vq_jax import samplers
from vq_jax.inference import generate

VOCAB = priors.Vocab(codebook_size=50, num_classes=2, null_class=True)
TRANSFORMERS = (priors.MaskGIT, priors.AutoregressiveTransformer)
PIXEL_PRIORS = (
  priors.PixelCNN(vocab=VOCAB, grid=(3, 4), layers=2, channels=8),
  priors.PixelSNAIL(
    vocab=VOCAB,
    grid=(3, 4),
    blocks=1,
    residual_layers=1,
    channels=8,
    residual_channels=8,
    output_layers=1,
  ),
)
PRIORS = [
  *(tiny.make(cls, vocab=VOCAB, dtype=jnp.bfloat16) for cls in TRANSFORMERS),
  *(prior.clone(dtype=jnp.bfloat16) for prior in PIXEL_PRIORS),
]
SAMPLERS = {
  True: (
    samplers.AutoregressiveSampler(),
    samplers.AutoregressiveSampler(top_k=3, temperature=0.7, guidance=2.0),
    samplers.AutoregressiveSampler(top_p=0.5, temperature=0),
  ),
  False: (
    samplers.MaskGITSampler(),
    samplers.MaskGITSampler(steps=4, guidance=3.0, order='halton', top_k=3),
    samplers.MaskGITSampler(steps=5, temperature=0, remask=0.3, top_p=0.9),
  ),
}


@pytest.mark.parametrize('number', range(3))
@pytest.mark.parametrize('prior', PRIORS, ids=lambda p: type(p).__name__)
def test_tokens_are_codes_and_known_ones_stay(prior, number):
  tokens = jnp.arange(24).reshape(2, 12) * 2
  known, label = tokens % 3 == 0, jnp.array([0, 1])
  variables = random_variables(prior, tokens, seed=0, label=label)
  # Logits of this size differ by less than a step of bfloat16.
  variables = jax.tree.map(lambda x: 20 * x, variables)
  logits = prior.apply(variables, tokens, label=label)
  assert logits.dtype == jnp.float32
  found = generate.sample_tokens(
    SAMPLERS[prior.causal][number],
    keys(2),
    prior,
    variables,
    tokens,
    known,
    label,
    None,
  )
  assert found.min() >= 0
  assert found.max() < VOCAB.codebook_size
  np.testing.assert_array_equal(found[known], tokens[known])


def test_the_cache_is_updated_in_place():
  prior = tiny.make(priors.AutoregressiveTransformer, vocab=VOCAB, layers=3)
  tokens, label = jnp.zeros((2, 12), jnp.int32), jnp.array([0, 1])
  variables = random_variables(prior, tokens, seed=0, label=label)
  compiled = generate.sample_tokens.lower(
    samplers.AutoregressiveSampler(),
    keys(2),
    prior,
    variables,
    tokens,
    tokens > 0,
    label,
    None,
  ).compile()
  text = compiled.as_text()
  cache = r'f32\[2,2,12,8\]\S* '  # the keys or the values of one block
  # They are written once in each step, and not copied.
  assert len(re.findall(cache + r'dynamic-update-slice\(', text)) == 2 * 3
  loops = ''.join(
    body for body in text.split('\n\n') if 'ENTRY' not in body.split('\n')[0]
  )
  assert not re.findall(cache + r'copy\(', loops)
