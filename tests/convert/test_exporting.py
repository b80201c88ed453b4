"""Released files become models and the same files again, to the bit."""

import jax.numpy as jnp
import numpy as np
import pytest
import yaml

import vq_jax
from tests.convert.released import GOLDEN
from vq_jax import convert
from vq_jax.config import registry
from vq_jax.convert import maskgit as maskgit_files
from vq_jax.convert import taming_gpt
from vq_jax.runs import load
from vq_jax.utils import trees
from vq_jax.utils.conversion import states


def read(path):
  """Returns name -> array of a released file."""
  if path.suffix == '.ckpt':
    found = states.load_arrays(path)
    return {n: x for n, x in found.items() if not n.startswith('loss.')}
  with maskgit_files.reading(path) as tree:
    return trees.flatten(tree)


@pytest.mark.parametrize(
  ('options', 'format'),
  [
    ({'kind': 'taming-vqgan', 'path': 'taming_vqgan_toy.ckpt'}, 'taming'),
    (
      {
        'kind': 'maskgit',
        'tokenizer': 'maskgit_tokenizer_toy.msgpack',
        'transformer': 'maskgit_transformer_toy.msgpack',
      },
      'maskgit',
    ),
  ],
)
def test_round_trip(options, format, tmp_path):
  kind, *files = options.values()
  files = [GOLDEN / file for file in files]
  options = dict(zip(list(options)[1:], files, strict=True))
  model = convert.load(kind, **options)
  written = convert.export(model, tmp_path, format)
  for ours, theirs in zip(written, files, strict=False):
    found, want = read(ours), read(theirs)
    assert found.keys() == want.keys()
    for name, array in want.items():
      assert found[name].dtype == array.dtype, name
      np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_the_config_of_a_vqgan_has_the_names_of_the_release(tmp_path):
  model = convert.load('taming-vqgan', GOLDEN / 'taming_vqgan_toy.ckpt')
  convert.export(model, tmp_path, 'taming')
  config = yaml.safe_load((tmp_path / 'model.yaml').read_text())['model']
  assert config['target'] == 'taming.models.vqgan.VQModel'
  assert config['params']['n_embed'] == 64
  assert config['params']['ddconfig']['attn_resolutions'] == [128]


def test_a_model_that_the_release_would_compute_otherwise_is_refused(tmp_path):
  model = convert.load('taming-vqgan', GOLDEN / 'taming_vqgan_toy.ckpt')
  module = model.autoencoder
  other = module.clone(quantizer=module.quantizer.clone(l2_normalize=True))
  object.__setattr__(model, 'autoencoder', other)
  with pytest.raises(convert.ConvertError, match='compute something else'):
    convert.export(model, tmp_path, 'taming')


def test_other_architectures_are_refused(maskgit, tmp_path):
  model = vq_jax.load(maskgit)
  with pytest.raises(convert.ConvertError, match='not a maskgit-tokenizer'):
    convert.export(model, tmp_path, 'maskgit')
  with pytest.raises(convert.ConvertError, match='no counterpart of'):
    convert.export(model, tmp_path, 'taming')


def test_an_averaged_codebook_is_written_as_that_of_a_release(tmp_path):
  model = convert.load('taming-vqgan', GOLDEN / 'taming_vqgan_toy.ckpt')
  spec = dict(model.config['model'])
  size, width = (spec['quantizer'][n] for n in ('codebook_size', 'code_dim'))
  spec['quantizer'] = {
    'type': 'ema_vq', 'codebook_size': size, 'code_dim': width
  }  # fmt: skip
  params = dict(model.variables['autoencoder']['params'])
  codes = params.pop('quantizer')['codebook']
  state = {
    'quantizer': {
      'codebook': codes,
      'cluster_size': jnp.ones(size),
      'cluster_sum': codes,
      'updates': jnp.int32(0),
    }
  }
  averaged = load.make_model(
    registry.build('autoencoder', spec),
    {'autoencoder': {'params': params, 'codebook': state}},
    model.run_config,
  )
  file, _ = convert.export(averaged, tmp_path, 'taming')
  want = read(GOLDEN / 'taming_vqgan_toy.ckpt')
  for name, array in read(file).items():
    np.testing.assert_array_equal(array, want[name], err_msg=name)


@pytest.mark.parametrize(
  ('classes', 'change', 'message'),
  [
    (3, {}, 'share an embedding'),
    (0, {}, 'start_vector of this model is that of none'),
    (2, {}, 'has no null class'),
    (0, {'extra': np.zeros(1)}, 'has embedding/embedding'),
  ],
)
def test_gpts_that_the_release_cannot_express(classes, change, message):
  params = {
    'embedding': {'embedding': np.arange(16.0).reshape(8, 2)},
    'start_vector': np.zeros(2),
  }
  if classes == 0:
    params['embedding']['embedding'] = np.arange(10.0).reshape(5, 2) + 1
  with pytest.raises(convert.ConvertError, match=message):
    taming_gpt.invert(change or params, 5, classes)
