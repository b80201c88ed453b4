"""A file that does not fit is refused; one message lists all differences."""

import re

import flax.serialization
import numpy as np
import pytest

from tests.convert import writing
from tests.convert.released import make_weights
from tests.convert.released import refused
from tests.convert.released import write
from vq_jax import convert
from vq_jax.config import registry
from vq_jax.convert import loading
from vq_jax.utils.conversion import rules


def test_all_differences_are_listed_in_one_error(tmp_path):
  weights = make_weights('taming-vqgan')
  del weights['decoder.norm_out.bias'], weights['quant_conv.bias']
  weights['encoder.mid.block_1.conv1.weight'] = np.zeros((64, 64, 3, 5))
  weights['encoder.mid.block_1.conv2.weight'] = np.zeros(7)
  weights['encoder.mid.attn_1.q.weight'] = np.zeros((64, 64, 3, 3))
  weights['quantize.embed_avg'] = np.zeros((40, 6))
  weights['discriminator.main.0.weight'] = np.zeros(3)
  said = refused(tmp_path / 'a.ckpt', 'taming-vqgan', weights).splitlines()
  assert re.fullmatch('.*a.ckpt cannot be converted:', said[0])
  for line in (
    r'  \? quantize.embed_avg: no rule knows this name',
    r'  \? discriminator.main.0.weight: no rule knows this name',
    r'  \? encoder.mid.block_1.conv2.weight: axes .*',
    r'  \? encoder.mid.attn_1.q.weight: .* no kernel of a 1x1 convolution',
    r'  - params/decoder/norm_out/norm/bias',
    r'  - params/to_code/bias',
    r'  - params/encoder/middle_block_0/conv2/kernel',
    r'  - params/encoder/middle_attention/attention/query/kernel',
    r'  ! params/encoder/middle_block_0/conv1/kernel: '
    r'\(3, 3, 64, 64\) here, \(3, 5, 64, 64\) there',
  ):
    assert len([x for x in said if re.fullmatch(line, x)]) == 1, line
  assert len(said) == 11  # those, the first, and what -, + and ! mean


def test_differing_or_missing_layers_are_refused(tmp_path):
  weights = make_weights('vit-vqgan')
  weights['encoder.transformer.layers.1.0.norm.bias'] = np.zeros(9)
  said = refused(tmp_path / 'a.ckpt', 'vit-vqgan', weights)
  assert 'attention_norm/bias: layers have shapes [(8,), (9,)]' in said
  weights = make_weights('vit-vqgan')
  del weights['encoder.transformer.layers.0.1.fn.net.2.bias']
  said = refused(tmp_path / 'a.ckpt', 'vit-vqgan', weights)
  assert 'blocks/mlp_out/bias: there are only layers [1]' in said
  for shape in [(192,), (191, 8), ()]:
    weights = make_weights('vit-vqgan')
    name = 'encoder.transformer.layers.1.0.fn.to_qkv.weight'
    weights[name] = np.zeros(shape)
    said = refused(tmp_path / 'a.ckpt', 'vit-vqgan', weights)
    assert f'{name}: {shape} holds no three projections' in said
  weights = make_weights('vit-vqgan')
  weights['encoder.transformer.layers.1.0.fn.to_out.weight'] = np.zeros(())
  said = refused(tmp_path / 'a.ckpt', 'vit-vqgan', weights)
  assert 'layers.1.0.fn.to_out.weight: ' in said


def test_two_names_of_one_parameter_are_refused(tmp_path):
  weights = make_weights('vit-vqgan')
  weights['encoder.norm.bias'] = np.zeros(8)
  said = refused(tmp_path / 'a.ckpt', 'vit-vqgan', weights)
  assert 'encoder/norm_out/norm/bias has been given already' in said


@pytest.mark.parametrize(
  ('kind', 'name', 'shape', 'message'),
  [
    ('taming-vqgan', 'encoder.conv_in.weight', None, 'has no encoder.conv_in'),
    ('taming-vqgan', 'encoder.conv_in.weight', (3,), 'not 4 axes'),
    (
      'taming-vqgan', 'encoder.down.1.block.0.conv1.weight', (48, 32, 3, 3),
      'width of encoder.down.1: 48 is no multiple of 32',
    ),
    (
      'taming-vqgan', 'encoder.conv_in.weight', (0, 3, 3, 3),
      'no multiple of 0',
    ),
    (
      'taming-vqgan', 'decoder.conv_out.weight', (1, 32, 3, 3),
      '3 channels to images of 1;',
    ),
    ('taming-vqgan', 'quantize.embed.weight', (4, 4), 'GumbelQuantize'),
    (
      'maskgit-tokenizer', 'encoder/ResBlock_0/Conv_0/kernel', (3, 3, 32, 48),
      'width of level 0: 48 is no multiple of 32',
    ),
    (
      'maskgit-tokenizer', 'encoder/ResBlock_7/Conv_0/kernel', (3, 3, 32, 32),
      'residual blocks: 4 is no multiple of 3',
    ),
    ('maskgit-tokenizer', 'quantizer/codebook', None, 'has no quantizer/code'),
    (
      'vit-vqgan', 'encoder.to_patch_embedding.0.weight', (8, 3, 4, 2),
      'patches of 4 x 2 are not square',
    ),
    (
      'vit-vqgan', 'decoder.transformer.layers.0.0.fn.to_qkv.weight', (191, 12),
      'decoder: to_qkv: 191 is no multiple of 192',
    ),
    (
      'vit-vqgan', 'decoder.de_pos_embedding', (1, 16, 12),
      'not the fixed sines and cosines of any grid',
    ),
    (
      'vit-vqgan', 'encoder.en_pos_embedding', (0, 16, 8),
      'en_pos_embedding holds more or less than one table',
    ),
    (
      'vit-vqgan', 'encoder.en_pos_embedding', (1, 16, 6),
      'not the fixed sines and cosines of any grid',
    ),
    ('vit-vqgan', 'encoder.en_pos_embedding', None, 'has no encoder.en_pos'),
  ],
)  # fmt: skip
def test_shapes_that_are_no_architecture(kind, name, shape, message, tmp_path):
  weights = make_weights(kind)
  weights.pop(name, None)
  if shape is not None:
    weights[name] = np.zeros(shape, np.float32)
  said = refused(tmp_path / 'a.ckpt', kind, weights)
  assert re.search(rf'a.ckpt is no {kind}: .*{message}', said), said
  assert '\n' not in said


@pytest.mark.parametrize('kind', ['llamagen-vq', 'taming-vqgan', 'vit-vqgan'])
def test_a_file_of_another_kind(kind, tmp_path):
  other = 'vit-vqgan' if kind == 'taming-vqgan' else 'taming-vqgan'
  path = tmp_path / 'a.ckpt'
  write(path, other, make_weights(other))
  said = refused(path, kind, None)
  assert f'is no {kind}' in said and '\n' not in said
  said = refused(path, 'maskgit-tokenizer', None)
  assert 'cannot be read as a Flax checkpoint' in said
  path.write_bytes(flax.serialization.to_bytes({'params': {'a': np.ones(3)}}))
  assert 'cannot be read as a PyTorch checkpoint' in refused(path, kind, None)


@pytest.mark.parametrize(
  ('tree', 'message'),
  [
    ([1], 'no dict but a list'),
    ({}, 'no tensors but nothing'),
    ({'state_dict': {'lr': 1}}, 'no tensors but lr'),
  ],
)
def test_checkpoints_without_weights(tree, message, tmp_path):
  writing.save(tmp_path / 'a.pt', tree)
  assert message in refused(tmp_path / 'a.pt', 'taming-vqgan', None)


@pytest.mark.parametrize(
  ('data', 'message'),
  [
    (flax.serialization.msgpack_serialize({'a': 1}), 'holds no params'),
    (flax.serialization.msgpack_serialize({'params': {}}), 'but 0 others'),
    (
      flax.serialization.msgpack_serialize({'params': {'a': {1: np.ones(2)}}}),
      'names are not strings',
    ),
    (b'', 'cannot be read as a Flax checkpoint'),
    (b'\xc1', 'cannot be read as a Flax checkpoint'),
  ],
)
def test_flax_files_without_weights(data, message, tmp_path):
  (tmp_path / 'a').write_bytes(data)
  assert message in refused(tmp_path / 'a', 'maskgit-tokenizer', None)


def test_a_flax_file_that_is_cut_anywhere(tmp_path):
  path = tmp_path / 'a'
  write(path, 'maskgit-tokenizer', make_weights('maskgit-tokenizer'))
  whole = path.read_bytes()
  for size in range(0, len(whole), len(whole) // 50):
    path.write_bytes(whole[:size])
    refused(path, 'maskgit-tokenizer', None)


def test_unknown_kinds_and_missing_files(tmp_path):
  with pytest.raises(registry.SpecError, match="'taming'.*mean 'taming-vqgan'"):
    convert.load('taming', tmp_path)
  for kind in loading.AUTOENCODERS:
    with pytest.raises(OSError, match='nowhere'):
      convert.load(kind, tmp_path / 'nowhere')


def test_the_first_rule_that_knows_a_leaf_applies():
  table = (
    rules.Rule('a', 'first', {'x': (('x', rules.same),)}),
    rules.Rule('(.)', r'second/\1', {'y': (('y', rules.same),)}),
    rules.Rule('', 'top', {'z': (('z', rules.same),)}),
  )
  one = np.ones(2, np.float16)
  result = rules.convert(
    {'a.x': one, 'a.y': one, 'b/y': one, 'z': one, 'skip.it': one},
    table,
    {'params': {
      'first': {'x': one}, 'second': {'a': {'y': one}, 'b': {'y': one}},
      'top': {'z': one},
    }},
    source='it',
    ignored=r'skip\..*',
  )  # fmt: skip
  assert result['params']['second']['b']['y'].dtype == np.float32


@pytest.mark.parametrize('kind', ['taming-vqgan', 'maskgit-tokenizer'])
@pytest.mark.parametrize(
  ('content', 'message'),
  [
    (b'', 'it is empty: download'),
    (b'version https://git-lfs.github.com/spec/v1\noid', 'run `git lfs pull`'),
    (b'<!doctype html><html>', 'a web page .* download the raw file'),
    (b'Entry not found', "it is text that begins with 'Entry not found'"),
    (b'\x1f\x8b\x08\x00', 'packed with gzip: unpack it first'),
    (b'\x89HDF\r\n\x1a\n', 'an HDF5 file'),
    (b'\x08\x07\x12\x07pytorch', 'an ONNX model; give the checkpoint'),
  ],
)
def test_files_that_stand_in_place_of_a_checkpoint(
  kind, content, message, tmp_path
):
  (tmp_path / 'a.ckpt').write_bytes(content)
  said = refused(tmp_path / 'a.ckpt', kind, None)
  assert re.search(f'cannot be read as a .* checkpoint: .*{message}', said)
  assert '\n' not in said


def test_a_folder_in_place_of_a_file(tmp_path):
  for kind in ('taming-vqgan', 'maskgit-tokenizer'):
    said = refused(tmp_path, kind, None)
    assert 'is a folder, and a checkpoint is one file; it holds none' in said
  (tmp_path / 'model.safetensors').touch()
  assert 'it holds model.safetensors.' in refused(tmp_path, kind, None)


def test_the_format_of_another_framework_is_named(tmp_path):
  path = tmp_path / 'a'
  write(path, 'maskgit-tokenizer', make_weights('maskgit-tokenizer'))
  assert 'a msgpack file, as Flax' in refused(path, 'taming-vqgan', None)
  for save in (writing.save, writing.save_legacy):
    save(path, {'x': np.ones(2, np.float32)})
    said = refused(path, 'maskgit-tokenizer', None)
    assert 'a checkpoint of PyTorch, and this kind is released for Flax' in said


def test_a_zip_that_was_cut_off(tmp_path):
  path = tmp_path / 'a.pt'
  writing.save(path, {'x': np.ones(9, np.float32)})
  path.write_bytes(path.read_bytes()[:-30])
  said = refused(path, 'taming-vqgan', None)
  assert 'it is cut off or damaged' in said and 'download it again' in said
