"""The presets have as many parameters as was published."""

import jax
import jax.numpy as jnp
import pytest

from vq_jax import autoencoders
from vq_jax import quantizers
from vq_jax.utils import trees


def params(preset, codebook_size, code_dim, size=64, **fields):
  model = preset(
    quantizers.VectorQuantizer(codebook_size=codebook_size, code_dim=code_dim),
    **fields,
  )
  image = jnp.zeros((1, size, size, 3))
  return jax.eval_shape(model.init, jax.random.key(0), image)['params']


def test_maskgit_tokenizer():
  tree = params(autoencoders.maskgit_tokenizer, 1024, 256)
  assert trees.count(tree) == 54_515_587
  assert len(jax.tree.leaves(tree)) == 168
  assert trees.count(tree['decoder']) == 30_478_339
  assert trees.count([tree['encoder'], tree['to_code']]) == 23_775_104


@pytest.mark.parametrize(
  ('codes', 'want'), [(1024, 72_141_699), (16384, 76_073_859)]
)
def test_taming_f16(codes, want):
  tree = params(autoencoders.vqgan_taming, codes, 256)
  assert trees.count(tree) == want
  assert len(jax.tree.leaves(tree)) == 343
  assert trees.count(tree['encoder']) == 29_298_176
  own = {k: v for k, v in tree['decoder'].items() if k != 'from_code'}
  assert trees.count(own) == 42_449_795


def test_llamagen_vq16():
  tree = params(autoencoders.llamagen_vq16, 16384, 8)
  assert round(trees.count(tree) / 1e6, 1) == 71.9


def test_llamagen_attention_follows_the_last_level():
  model = autoencoders.llamagen_vq16(None, multipliers=(1, 2, 2, 4))
  for backbone in (model.encoder, model.decoder):
    assert (backbone.stride, backbone.attention_strides) == (8, (8,))


def test_vqvae_2017():
  """The widths of the paper, in the layout of its authors' later example."""
  tree = params(autoencoders.vqvae_2017, 512, 64, size=32)['encoder']
  kernels = [
    x.shape for name, x in trees.flatten(tree).items() if 'kernel' in name
  ]
  block = [(3, 3, 256, 256), (1, 1, 256, 256)]
  strided = [(4, 4, 3, 128), (4, 4, 128, 256)]
  assert sorted(kernels) == sorted([*strided, (3, 3, 256, 256), *block, *block])


@pytest.mark.parametrize(
  ('size', 'published', 'released'),
  [('small', 25.2, 25.2), ('base', 85.1, 85.0), ('large', 629.7, 587.6)],
)
@pytest.mark.parametrize('reimplemented', [False, True])
def test_vit_blocks_by_hand(size, published, released, reimplemented):
  """The number of parameters of the blocks of an encoder, in millions.

  The paper's own counts, 32, 91 and 599, fit neither one encoder of the paper's
  dimensions nor encoder and decoder; see `vit_presets`.
  """
  layers, width, heads, mlp = {
    'small': (8, 512, 8, 2048),
    'base': (12, 768, 12, 3072),
    'large': (32, 1280, 16, 5120),
  }[size]
  tree = params(
    autoencoders.vit_vqgan,
    8192,
    32,
    encoder_size='small',
    decoder_size=size,
    reimplemented=reimplemented,
  )
  assert tree['encoder']['embedding']['kernel'].shape == (8, 8, 3, 512)
  inner = heads * 64 if reimplemented else width
  attention = 4 * width * inner + width
  attention += 0 if reimplemented else 3 * inner
  block = attention + 2 * width * mlp + mlp + width + 4 * width
  got = trees.count(tree['decoder']['stack'])
  assert got == layers * block
  assert round(got / 1e6, 1) == (released if reimplemented else published)
  if not reimplemented:
    assert tree['decoder']['head']['kernel'].shape == (width, mlp)
