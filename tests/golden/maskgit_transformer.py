"""Copies the published transformer's toy weights into our tree by hand."""

import dataclasses
import pathlib

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np

from vq_jax import priors
from vq_jax.priors import maskgit

_FOLDER = pathlib.Path(__file__).parent

VECTORS = dict(np.load(_FOLDER / 'maskgit_transformer_toy.npz'))
VOCAB = priors.Vocab(codebook_size=64, num_classes=10)
PRIOR = priors.MaskGIT(
  vocab=VOCAB,
  grid=(6, 6),
  transformer=dataclasses.replace(
    maskgit.PUBLISHED, layers=3, width=64, heads=4, mlp_width=128
  ),
)


def params():
  """Our parameters, holding the published weights."""
  theirs = flax.serialization.msgpack_restore(
    (_FOLDER / 'maskgit_transformer_toy.msgpack').read_bytes()
  )['params']

  def block(i):
    layer = theirs[f'TransformerLayer_{i}']
    return {
      'attention': layer['Attention_0']['self_attention'],
      'attention_norm': layer['Attention_0']['attention_output_ln'],
      'mlp_in': layer['Mlp_0']['intermediate_output'],
      'mlp_out': layer['Mlp_0']['layer_output'],
      'mlp_norm': layer['Mlp_0']['layer_output_ln'],
    }

  blocks = jax.tree.map(lambda *x: jnp.stack(x), *[block(i) for i in range(3)])
  return {
    'embedding': theirs['Embed_0']['word_embeddings'],
    'position_embedding': {
      'table': theirs['Embed_0']['position_embeddings']['embedding']
    },
    'norm_in': theirs['Embed_0']['embeddings_ln'],
    'stack': {'blocks': blocks},
    'dense_out': theirs['MlmLayer_0']['mlm_dense'],
    'norm_out': {'norm': theirs['MlmLayer_0']['mlm_ln']},
    'bias_out': theirs['MlmLayer_0']['mlm_bias']['bias'],
  }
