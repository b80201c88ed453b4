"""The architecture follows from the arrays, and the outputs are the same."""

import json
import math

import jax
import numpy as np
import pytest

from tests.convert import references
from tests.convert import vit_reference
from tests.convert.released import GOLDEN
from tests.convert.released import outputs
from tests.convert.released import write
from vq_jax import autoencoders
from vq_jax import convert
from vq_jax import quantizers
from vq_jax.config import registry
from vq_jax.convert import loading
from vq_jax.utils import trees
from vq_jax.utils.conversion import rules
from vq_jax.utils.conversion import unpickling

Taming, MaskGIT = references.Taming, references.MaskGIT
ViT, Size = vit_reference.ViT, vit_reference.Size

SMALL = {'ch': 32, 'z_channels': 24, 'embed_dim': 6, 'n_embed': 40}
ARCHITECTURES = {
  'taming: one level': Taming(
    **SMALL, ch_mult=(2,), num_res_blocks=1, attention=()
  ),
  'taming: attention twice': Taming(
    **SMALL, ch_mult=(1, 2, 1), num_res_blocks=1, attention=(0, 2)
  ),
  'taming: two blocks': Taming(
    **SMALL, ch_mult=(1, 3), num_res_blocks=2, attention=(1,)
  ),
  'llamagen': Taming(
    **SMALL, ch_mult=(1, 1, 2), num_res_blocks=1, attention=(2,), llamagen=True
  ),
  'maskgit': MaskGIT(
    filters=32, multipliers=(1, 2, 2), num_res_blocks=2, embedding_dim=6,
    codebook_size=40,
  ),
  'maskgit: one level': MaskGIT(
    filters=32, multipliers=(1,), num_res_blocks=1, embedding_dim=6,
    codebook_size=40,
  ),
  'vit': ViT(
    encoder=Size(24, 2, 2, 40), decoder=Size(36, 3, 1, 20), patch=4,
    embed_dim=6, n_embed=40,
  ),
  'vit: one head of its width': ViT(
    encoder=Size(64, 1, 1, 40), decoder=Size(64, 2, 1, 40), patch=8,
    embed_dim=6, n_embed=40, final_norm='norm', pixels='conv_out',
  ),
}  # fmt: skip


def get_kind(reference):
  if isinstance(reference, Taming):
    return 'llamagen-vq' if reference.llamagen else 'taming-vqgan'
  return 'vit-vqgan' if isinstance(reference, ViT) else 'maskgit-tokenizer'


@pytest.mark.parametrize('name', ARCHITECTURES)
def test_every_architecture_is_read_and_computes_the_same(name, tmp_path):
  reference = ARCHITECTURES[name]
  rng = np.random.default_rng(1)
  image = rng.uniform(size=(2, 16, 16, 3)).astype(np.float32)
  weights, want = references.make(reference, image)
  if isinstance(reference, ViT):
    side = 16 // reference.patch
    weights = reference.with_positions(weights, (side, side))
    want = references.compute(reference, weights, image)
  kind = get_kind(reference)
  write(tmp_path / 'a.ckpt', kind, weights)
  model = convert.load(kind, tmp_path / 'a.ckpt')
  found = outputs(model, image)
  np.testing.assert_array_equal(found['indices'], want['indices'])
  for part in ('features', 'reconstruction'):
    # Two orders of summation; what they sum has a size of about 1.
    np.testing.assert_allclose(found[part], want[part], rtol=0, atol=2e-5)


def test_the_image_size_follows_from_the_vit_position_embeddings(tmp_path):
  reference = ViT(Size(8, 1, 1, 8), Size(12, 1, 1, 8), 4, 3, 5)
  image = np.random.default_rng(2).uniform(size=(1, 8, 24, 3))
  image = image.astype(np.float32)
  weights, _ = references.make(reference, image)
  weights = reference.with_positions(weights, (2, 6))
  want = references.compute(reference, weights, image)
  write(tmp_path / 'a.ckpt', 'vit-vqgan', weights)
  model = convert.load('vit-vqgan', tmp_path / 'a.ckpt')
  assert model.run_config['dataset']['image_shape'] == [8, 24, 3]
  found = outputs(model, image)
  np.testing.assert_allclose(
    found['reconstruction'], want['reconstruction'], rtol=0, atol=2e-5
  )


def vq(size, width):
  return quantizers.VectorQuantizer(codebook_size=size, code_dim=width)


PUBLISHED = {
  'taming-vqgan': (Taming(), lambda: autoencoders.vqgan_taming(vq(16384, 256))),
  'llamagen-vq': (
    Taming(embed_dim=8, llamagen=True),
    lambda: autoencoders.llamagen_vq16(vq(16384, 8)),
  ),
  'maskgit-tokenizer': (
    MaskGIT(),
    lambda: autoencoders.maskgit_tokenizer(vq(1024, 256)),
  ),
  'vit-vqgan': (
    ViT(),
    lambda: autoencoders.vit_vqgan(vq(8192, 32), reimplemented=True),
  ),
}


def zeros(shape):
  """A tensor of zeros that is not read from its file yet."""
  size = math.prod(shape)
  storage = unpickling.Storage(np.dtype('f4'), size, lambda: bytes(4 * size))
  strides = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
  return unpickling.Tensor(storage, 0, shape, tuple(strides))


@pytest.mark.parametrize('kind', PUBLISHED)
def test_the_published_size_becomes_the_preset(kind):
  """Exactly the released names and shapes are needed."""
  reference, preset = PUBLISHED[kind]
  names = references.get_shapes(reference)
  if kind == 'taming-vqgan':
    released = json.loads((GOLDEN / 'taming_f16_16384_keys.json').read_text())
    assert names == {name: tuple(shape) for name, shape in released.items()}
  if kind == 'maskgit-tokenizer':
    arrays = {n: np.zeros(s, np.float32) for n, s in names.items()}
    tree = {'params': trees.unflatten(arrays)}
  else:
    tree = {name: zeros(shape) for name, shape in names.items()}
  source = loading.AUTOENCODERS[kind]
  state = source.state(tree)
  module = registry.build('autoencoder', source.model(state))
  image = np.zeros((1, 16, 16, 3), np.float32)
  ours, theirs = (
    jax.eval_shape(m.init, jax.random.key(0), image) for m in (module, preset())
  )
  assert jax.tree.map(np.shape, ours) == jax.tree.map(np.shape, theirs)
  result = rules.convert(
    state, source.rules(state), ours, source='it', ignored=source.IGNORED
  )
  assert jax.tree.map(np.shape, result) == jax.tree.map(np.shape, ours)


def test_the_names_that_llamagen_released():
  """Its levels are `conv_blocks`, and the decoder's are counted upwards."""
  names = references.get_shapes(PUBLISHED['llamagen-vq'][0])
  for name, shape in {
    'encoder.conv_blocks.2.res.0.nin_shortcut.weight': (256, 128, 1, 1),
    'encoder.conv_blocks.4.attn.1.proj_out.bias': (512,),
    'encoder.mid.1.q.weight': (512, 512, 1, 1),
    'decoder.mid.2.conv2.weight': (512, 512, 3, 3),
    'decoder.conv_blocks.0.attn.2.norm.weight': (512,),
    'decoder.conv_blocks.0.upsample.conv.bias': (512,),
    'decoder.conv_blocks.1.res.0.nin_shortcut.weight': (256, 512, 1, 1),
    'decoder.conv_blocks.4.res.2.conv1.weight': (128, 128, 3, 3),
    'quantize.embedding.weight': (16384, 8),
    'quantize.codebook_used': (65536,),
    'quant_conv.weight': (8, 256, 1, 1),
    'post_quant_conv.bias': (256,),
  }.items():
    assert names.pop(name) == shape
  assert not [n for n in names if '.block.' in n or '.down.' in n]


def test_the_names_that_enhancing_transformers_released():
  names = references.get_shapes(ViT())
  for name, shape in {
    'encoder.to_patch_embedding.0.weight': (512, 3, 8, 8),
    'encoder.transformer.layers.7.0.norm.bias': (512,),
    'encoder.transformer.layers.0.0.fn.to_qkv.weight': (1536, 512),
    'encoder.transformer.layers.0.0.fn.to_out.bias': (512,),
    'encoder.transformer.layers.0.1.fn.net.0.weight': (2048, 512),
    'encoder.transformer.layers.0.1.fn.net.2.weight': (512, 2048),
    'encoder.transformer.norm.weight': (512,),
    'pre_quant.weight': (32, 512),
    'quantizer.embedding.weight': (8192, 32),
    'post_quant.weight': (512, 32),
    'decoder.transformer.layers.7.1.norm.weight': (512,),
    'decoder.transformer.norm.bias': (512,),
    'decoder.to_pixel.1.weight': (512, 3, 8, 8),
    'decoder.to_pixel.1.bias': (3,),
  }.items():
    assert names.pop(name) == shape
  assert 'encoder.transformer.layers.0.0.fn.to_qkv.bias' not in names
