"""all-MiniLM-L6-v2, an encoder of sentences."""

import os
import pathlib
import tempfile
import zipfile
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vq_jax.features import released
from vq_jax.layers import normalization
from vq_jax.utils import fields
from vq_jax.utils.conversion import states

# Longest sentence, in tokens with [CLS] and [SEP]; the rest is cut off.
_MAX_TOKENS = 256
# Sentences are encoded in batches of similar length. The padded length is a
# multiple of `_PAD_TO`, so that few programs are compiled.
_BATCH = 100
_PAD_TO = 8


class _Block(nn.Module):
  """A transformer block of BERT, which normalises after the residuals."""

  heads: int
  mlp_width: int
  epsilon: float
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
    """Maps [B, N, D] to [B, N, D] with a mask [B, 1, N, N] of attention."""

    def norm(x, name):
      return nn.LayerNorm(self.epsilon, dtype=self.dtype, name=name)(x)

    y = nn.MultiHeadDotProductAttention(
      self.heads, dtype=self.dtype, name='attention'
    )(x, mask=mask)
    x = norm(x + y, 'attention_norm')
    y = nn.Dense(self.mlp_width, dtype=self.dtype, name='mlp_in')(x)
    y = nn.gelu(y, approximate=False)
    y = nn.Dense(x.shape[-1], dtype=self.dtype, name='mlp_out')(y)
    return norm(x + y, 'mlp_norm')


class SentenceEncoder(nn.Module):
  """BERT with mean pooling: Sentence-BERT (https://arxiv.org/abs/1908.10084).

  The embedding of a sentence is the mean of the outputs of its tokens, scaled
  to unit length. The defaults are those of all-MiniLM-L6-v2, which started from
  a distilled transformer (https://arxiv.org/abs/2002.10957).

  Attributes:
    vocabulary: number of token ids.
    positions: number of positions, the longest sentence.
    layers: number of transformer blocks.
    width: D, the width of tokens and embeddings.
    heads: attention heads.
    mlp_width: width of the hidden layer of the MLP.
    epsilon: epsilon of the normalisation layers.
    dtype: dtype of the computation.

  Example:
    >>> import jax
    >>> from vq_jax import features
    >>> encoder = features.SentenceEncoder(
    ...   vocabulary=10, positions=6, layers=1, width=8, heads=2, mlp_width=16
    ... )
    >>> tokens = jax.numpy.array([[1, 5, 7, 0]])
    >>> embedding, _ = encoder.init_with_output(
    ...   jax.random.key(0), tokens, tokens > 0
    ... )
    >>> embedding.shape
    (1, 8)
  """

  vocabulary: fields.PositiveInt = 30522
  positions: fields.PositiveInt = 512
  layers: fields.PositiveInt = 6
  width: fields.PositiveInt = 384
  heads: fields.PositiveInt = 12
  mlp_width: fields.PositiveInt = 1536
  epsilon: fields.PositiveFloat = 1e-12
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, tokens: jax.Array, mask: jax.Array) -> jax.Array:
    """Encodes sentences.

    Args:
      tokens: int32 [B, N], token ids, padded at the end.
      mask: bool [B, N], False at the padding. Each row has a True.

    Returns:
      float32 [B, D], of unit length.
    """
    x = nn.Embed(
      self.vocabulary, self.width, dtype=self.dtype, name='token_embedding'
    )(tokens)
    positions = self.param(
      'position_embedding',
      nn.initializers.normal(0.02),
      (self.positions, self.width),
      jnp.float32,
    )
    x = x + positions[None, : tokens.shape[1]].astype(self.dtype)
    x = nn.LayerNorm(self.epsilon, dtype=self.dtype, name='embedding_norm')(x)
    attention_mask = nn.make_attention_mask(jnp.ones_like(mask), mask)
    for i in range(self.layers):
      x = _Block(
        self.heads, self.mlp_width, self.epsilon, self.dtype, name=f'block_{i}'
      )(x, attention_mask)
    weights = mask[..., None].astype(jnp.float32)
    return normalization.l2_normalize(
      (weights * x).sum(axis=1) / weights.sum(axis=1)
    )


def load_minilm(
  path: str | os.PathLike | None = None,
) -> Callable[[Sequence[str]], np.ndarray]:
  """Loads all-MiniLM-L6-v2.

  Args:
    path: file with the weights and the tokenizer; by default see
      `released.find`.

  Returns:
    a function from n sentences to embeddings, float32 [n, 384] of unit length.
    Of a sentence of more than 256 tokens the end is ignored.

  Raises:
    MissingWeights: if there is no such file; the message says how to get it.
    OSError: if `path` cannot be read.
    ValueError: if the checksum of the file is wrong, or the library
      `tokenizers` is not installed.
  """
  tokenizer, variables = _read(released.find('minilm_l6', path))
  tokenizer.enable_truncation(_MAX_TOKENS)
  tokenizer.enable_padding(pad_to_multiple_of=_PAD_TO)
  encoder = SentenceEncoder()
  apply = jax.jit(encoder.apply)

  def encode(texts: list[str]) -> np.ndarray:
    found = tokenizer.encode_batch(texts)
    tokens = np.array([entry.ids for entry in found], np.int32)
    mask = np.array([entry.attention_mask for entry in found], bool)
    return np.asarray(apply(variables, tokens, mask))

  def encode_texts(texts: Sequence[str]) -> np.ndarray:
    embeddings = np.empty((len(texts), encoder.width), np.float32)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    for start in range(0, len(texts), _BATCH):
      rows = order[start : start + _BATCH]
      embeddings[rows] = encode([texts[i] for i in rows])
    return embeddings

  return encode_texts


def _read(path: pathlib.Path) -> tuple[Any, dict[str, Any]]:
  """Reads the tokenizer and the variables from the released archive."""
  try:
    import tokenizers
  except ImportError as error:
    raise ValueError(
      'the text encoder needs the package tokenizers: run '
      "`pip install 'vq_jax[clip]'`."
    ) from error
  with (
    zipfile.ZipFile(path) as archive,
    tempfile.TemporaryDirectory() as folder,
  ):
    state = states.load_arrays(archive.extract('model.safetensors', folder))
    content = archive.read('tokenizer.json').decode()
  params = jax.tree.map(jnp.asarray, convert(state, SentenceEncoder.heads))
  return tokenizers.Tokenizer.from_str(content), {'params': params}


def convert(state: Mapping[str, np.ndarray], heads: int) -> dict[str, Any]:
  """Converts a state dict of BERT to parameters of `SentenceEncoder`.

  All sentences have the token type 0, whose embedding is added to those of the
  positions. The layer that BERT applies to the first token is not used.

  Args:
    state: the state dict.
    heads: number of attention heads.
  """
  # The embeddings come first, then each block.
  embeddings = 'embeddings.'
  params: dict[str, Any] = {
    'token_embedding': {
      'embedding': state[f'{embeddings}word_embeddings.weight']
    },
    'position_embedding': state[f'{embeddings}position_embeddings.weight']
    + state[f'{embeddings}token_type_embeddings.weight'][0],
    'embedding_norm': _norm(state, f'{embeddings}LayerNorm'),
  }
  prefix = 'encoder.layer.'
  count = len({name.split('.')[2] for name in state if prefix in name})
  for i in range(count):
    block = f'{prefix}{i}.'
    attention = {
      name: _split_heads(_dense(state, f'{block}attention.self.{name}'), heads)
      for name in ('query', 'key', 'value')
    }
    out = _dense(state, f'{block}attention.output.dense')
    width = len(out['bias'])
    attention['out'] = {
      'kernel': out['kernel'].reshape(heads, -1, width),
      'bias': out['bias'],
    }
    params[f'block_{i}'] = {
      'attention': attention,
      'attention_norm': _norm(state, f'{block}attention.output.LayerNorm'),
      'mlp_in': _dense(state, f'{block}intermediate.dense'),
      'mlp_out': _dense(state, f'{block}output.dense'),
      'mlp_norm': _norm(state, f'{block}output.LayerNorm'),
    }
  return params


def _dense(state: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
  return {'kernel': state[f'{name}.weight'].T, 'bias': state[f'{name}.bias']}


def _norm(state: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
  return {'scale': state[f'{name}.weight'], 'bias': state[f'{name}.bias']}


def _split_heads(
  layer: Mapping[str, np.ndarray], heads: int
) -> dict[str, np.ndarray]:
  """Splits the outputs of a dense layer by heads."""
  return {
    name: array.reshape(*array.shape[:-1], heads, -1)
    for name, array in layer.items()
  }
