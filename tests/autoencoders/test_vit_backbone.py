"""Laws of ViT-VQGAN's backbones; their numbers are held against a reference of
the released code in tests/convert.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.utils.variables import random_variables
from vq_jax import autoencoders
from vq_jax import quantizers
from vq_jax.layers import positions
from vq_jax.layers import transformer

TOY = {'layers': 2, 'width': 8, 'heads': 2, 'mlp_width': 12}
TOY_CONFIG = transformer.TransformerConfig(**TOY)
QUANTIZER = quantizers.VectorQuantizer(codebook_size=8, code_dim=4)


def images(*shape, seed=0):
  return np.random.default_rng(seed).random(shape).astype(np.float32)


def apply(module, variables, *args, **kwargs):
  return jax.jit(lambda v: module.apply(v, *args, **kwargs))(variables)


def encoder(overlap=1, cls=autoencoders.ViTEncoder, **fields):
  config = dataclasses.replace(TOY_CONFIG, **fields)
  return cls(patch=2, overlap=overlap, transformer=config, head_width=6)


def decoder(**fields):
  return encoder(cls=autoencoders.ViTDecoder, **fields)


@pytest.mark.parametrize('reimplemented', [False, True])
def test_round_trip_on_any_grid_with_backbones_of_two_sizes(reimplemented):
  small = autoencoders.vit_vqgan(
    QUANTIZER,
    patch=2,
    image_channels=2,
    reimplemented=reimplemented,
    transformer=TOY,
  )
  config = dataclasses.replace(
    small.decoder.transformer, width=12, layers=3, heads=3
  )
  larger = small.decoder.clone(transformer=config)
  model = small.clone(decoder=larger)
  image = images(2, 6, 10, 2)
  variables = random_variables(model, image)
  quantized = apply(model, variables, image, method='encode')
  assert quantized.indices.shape == (2, 3, 5)
  decoded = apply(model, variables, quantized.indices, method='decode_indices')
  assert decoded.shape == image.shape and decoded.dtype == jnp.float32
  np.testing.assert_allclose(
    apply(model, variables, image)[0], decoded, atol=1e-5
  )


def test_without_blocks_an_encoder_is_patches_positions_norm_and_head():
  backbone = encoder(layers=0, scan=False, epsilon=0.1)
  image = images(2, 4, 6, 3)
  variables = random_variables(backbone, image)
  p = jax.tree.map(np.asarray, variables['params'])
  patches = image.reshape(2, 2, 2, 3, 2, 3).transpose(0, 1, 3, 2, 4, 5)
  x = patches.reshape(2, 6, 12) @ p['embedding']['kernel'].reshape(12, 8)
  x = x + p['embedding']['bias'] + positions.sincos_2d((2, 3), 8)
  x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 0.1)
  x = x * p['norm_out']['norm']['scale'] + p['norm_out']['norm']['bias']
  want = np.tanh(x @ p['head']['kernel'] + p['head']['bias'])
  got = apply(backbone, variables, image)
  np.testing.assert_allclose(got, want.reshape(2, 2, 3, 6), atol=1e-5)
  plain = backbone.clone(head_width=None)
  del p['head']
  got = apply(plain, {'params': p}, image)
  np.testing.assert_allclose(got, x.reshape(2, 2, 3, 8), atol=1e-5)


@pytest.mark.parametrize('overlap', [1, 2, 3])
def test_overlapping_patches_see_their_neighbours(overlap):
  def touched(backbone, x, at):
    variables = random_variables(backbone, x)
    change = apply(backbone, variables, x.at[0, *at].add(1.0))
    return jnp.any(change != apply(backbone, variables, x), axis=(0, -1))

  fields = {'layers': 0, 'scan': False, 'overlap': overlap}
  first = 2 * np.arange(6) - (overlap - 1)  # pixel of each patch
  pixels = np.arange(12)[None]
  inside = (first[:, None] <= pixels) & (pixels < first[:, None] + 2 * overlap)
  tokens = touched(encoder(**fields), jnp.zeros((1, 12, 12, 3)), (4, 7))
  np.testing.assert_array_equal(tokens, np.outer(inside[:, 4], inside[:, 7]))
  painted = touched(decoder(**fields), jnp.zeros((1, 6, 6, 4)), (1, 3))
  np.testing.assert_array_equal(painted, np.outer(inside[1], inside[3]))


@pytest.mark.parametrize(('backbone', 'step'), [(encoder, 1), (decoder, 2)])
def test_tokens_attend_to_all_others_and_their_positions(backbone, step):
  x = np.ones((1, 4, 4, 3), np.float32)  # all tokens alike
  module = backbone()
  variables = random_variables(module, x)
  y = np.asarray(apply(module, variables, x))
  assert np.abs(y[:, 0] - y[:, step]).max() > 1e-3
  other = x.copy()
  other[0, -1, -1] = 0
  z = np.asarray(apply(module, variables, other))
  assert np.abs(y[:, 0, 0] - z[:, 0, 0]).max() > 1e-4


@pytest.mark.parametrize('backbone', [encoder, decoder])
def test_options_do_what_they_say(backbone):
  x = images(1, 4, 4, 3)

  def names(**fields):
    tree = jax.eval_shape(backbone(**fields).init, jax.random.key(0), x)
    return tree['params']

  blocks = names()['stack']['blocks']['attention']
  assert blocks['query']['kernel'].shape == (2, 8, 2, 4)
  assert 'bias' in blocks['query']
  blocks = names(head_dim=3, qkv_bias=False)['stack']['blocks']
  assert blocks['attention']['query']['kernel'].shape == (2, 8, 2, 3)
  assert set(blocks['attention']['query']) == {'kernel'}
  variables = random_variables(backbone(), x)
  want = apply(backbone(), variables, x)
  other = apply(backbone(activation='tanh'), variables, x)
  assert np.abs(want - other).max() > 1e-4
  unrolled = {
    **variables['params'],
    'stack': {
      f'block_{i}': jax.tree.map(
        lambda v, i=i: v[i], variables['params']['stack']['blocks']
      )
      for i in range(2)
    },
  }
  got = apply(backbone(scan=False), {'params': unrolled}, x)
  np.testing.assert_allclose(got, want, atol=1e-5)

  def gradient(module):
    return jax.jit(jax.grad(lambda v: module.apply(v, x).sum()))(variables)

  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5),
    gradient(backbone(remat=True)),
    gradient(backbone()),
  )


def test_mistakes_are_named():
  with pytest.raises(ValueError, match="'gelu' or .* 'tanh'; got 'relu'"):
    encoder(activation='relu')
  with pytest.raises(ValueError, match="small, base, large; got 'huge'"):
    autoencoders.vit_vqgan(QUANTIZER, encoder_size='huge')


def test_the_re_implementation_samples_as_xavier():
  model = autoencoders.vit_vqgan(
    QUANTIZER,
    reimplemented=True,
    transformer={'layers': 1, 'width': 64, 'heads': 1, 'mlp_width': 256},
    patch=2,
  )
  params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 4, 4, 3)))
  for backbone in ('encoder', 'decoder'):
    blocks = params['params'][backbone]['stack']['blocks']
    kernel = blocks['mlp_in']['kernel']
    np.testing.assert_allclose(kernel.std(), np.sqrt(2 / 320), rtol=0.02)
  plain = autoencoders.vit_vqgan(QUANTIZER).encoder.transformer
  assert plain.kernel_init is not model.encoder.transformer.kernel_init
