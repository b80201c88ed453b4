"""Released files become models and the same files again, to the bit."""

import numpy as np
import pytest
import yaml

import vq_jax
from tests.convert.released import GOLDEN
from vq_jax import convert
from vq_jax.convert import maskgit as maskgit_files
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
  with pytest.raises(convert.ConvertError, match='only an autoencoder'):
    convert.export(model, tmp_path, 'taming')
