"""Sentences have embeddings of unit length, whatever is around them."""

import sys

import jax
import numpy as np
import pytest

from tests.features import weights
from tests.utils.variables import random_variables
from vq_jax import features
from vq_jax.features import minilm

SIZES = {
  'vocabulary': 11,
  'positions': 9,
  'layers': 2,
  'width': 8,
  'heads': 2,
  'mlp_width': 12,
}


def batch():
  """Two sentences of 5 and 3 tokens."""
  tokens = np.random.default_rng(0).integers(1, 11, (2, 7)).astype(np.int32)
  return tokens, np.arange(7) < [[5], [3]]


@pytest.fixture(scope='module')
def encoder():
  module = features.SentenceEncoder(**SIZES)
  variables = random_variables(module, *batch())
  return lambda *batch: np.asarray(jax.jit(module.apply)(variables, *batch))


def test_embeddings_have_unit_length(encoder):
  norms = np.linalg.norm(encoder(*batch()), axis=-1)
  np.testing.assert_allclose(norms, 1, rtol=1e-5)


def test_padding_and_other_sentences_change_nothing(encoder):
  tokens, mask = batch()
  want = encoder(tokens, mask)
  other = np.where(mask, tokens, tokens[::-1, ::-1])
  np.testing.assert_allclose(encoder(other, mask), want, rtol=1e-5, atol=1e-6)
  alone = encoder(tokens[:1, :5], mask[:1, :5])
  np.testing.assert_allclose(alone, want[:1], rtol=1e-4, atol=1e-6)


def test_the_order_of_tokens_matters(encoder):
  tokens, mask = batch()
  swapped = tokens.copy()
  swapped[:, :2] = tokens[:, 1::-1]
  assert np.abs(encoder(swapped, mask) - encoder(tokens, mask)).max() > 0.01


def test_it_is_bert_of_the_transformers_library():
  torch = pytest.importorskip('torch')
  transformers = pytest.importorskip('transformers')
  torch.manual_seed(0)
  config = transformers.BertConfig(
    vocab_size=11,
    max_position_embeddings=9,
    num_hidden_layers=2,
    hidden_size=8,
    num_attention_heads=2,
    intermediate_size=12,
    layer_norm_eps=1e-12,
    initializer_range=0.5,
  )
  bert = transformers.BertModel(config).eval()
  state = {name: value.numpy() for name, value in bert.state_dict().items()}
  tokens, mask = batch()
  with torch.no_grad():
    output = bert(
      input_ids=torch.tensor(tokens).long(), attention_mask=torch.tensor(mask)
    ).last_hidden_state.numpy()
  mean = (output * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
  params = minilm.convert(state, heads=2)
  got = features.SentenceEncoder(**SIZES).apply({'params': params}, *batch())
  want = mean / np.linalg.norm(mean, axis=-1, keepdims=True)
  np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_released_weights_know_which_sentences_are_alike():
  """The cosines that the model's authors show for these sentences."""
  weights.need('minilm_l6')
  pytest.importorskip('tokenizers')
  encode = features.load_minilm()
  found = encode([
    'That is a happy person',
    'That is a happy dog',
    'That is a very happy person',
    'Today is a sunny day',
  ])  # fmt: skip
  np.testing.assert_allclose(
    found[1:] @ found[0], [0.6946, 0.9429, 0.2569], atol=1e-4
  )
  long, short = 'word ' * 600, 'word'
  many = encode([long, *[short] * 100])
  np.testing.assert_allclose(many[0], encode(['word ' * 254])[0], atol=1e-5)
  np.testing.assert_allclose(many[-1], encode([short])[0], atol=1e-5)


def test_without_the_tokenizer_the_user_learns_what_to_install(
  monkeypatch, tmp_path
):
  monkeypatch.setattr(minilm.released, 'find', lambda *_: tmp_path)
  monkeypatch.setitem(sys.modules, 'tokenizers', None)
  with pytest.raises(
    ValueError, match='needs the package tokenizers: run .pip install'
  ):
    features.load_minilm()
