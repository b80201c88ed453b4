"""The YAML file of taming's weights gives the image size and must fit them."""

import pytest
import yaml

from tests.convert.released import CONFIG
from tests.convert.released import make_weights
from tests.convert.released import refused
from tests.convert.released import write
from vq_jax import convert


def test_a_config_determines_the_image_size(tmp_path):
  write(tmp_path / 'a.ckpt', 'taming-vqgan', make_weights('taming-vqgan'))
  path = tmp_path / 'model.yaml'
  transformer = {'params': {'first_stage_config': CONFIG, 'n_layer': 3}}
  for config in (CONFIG, transformer):
    path.write_text(yaml.safe_dump({'model': config}))
    model = convert.load('taming-vqgan', tmp_path / 'a.ckpt', yaml=path)
    assert model.run_config['dataset']['image_shape'] == [64, 64, 3]
  model = convert.load('taming-vqgan', tmp_path / 'a.ckpt')
  assert model.run_config['dataset']['image_shape'] == [256, 256, 3]


def changed(**changes):
  params = {**CONFIG['params']}
  params |= {k: v for k, v in changes.items() if k in params}
  layout = {**params['ddconfig']}
  layout |= {k: v for k, v in changes.items() if k not in params}
  return yaml.safe_dump({'model': {'params': {**params, 'ddconfig': layout}}})


@pytest.mark.parametrize(
  ('text', 'messages'),
  [
    (
      changed(n_embed=41, embed_dim=5, ch=64, ch_mult=[1, 3]),
      [
        'model.yaml contradicts the weights',
        'n_embed: 41 in the file, 40 in the weights',
        'embed_dim: 5 in the file, 6',
        'ch: 64 in the file, 32',
        'ch_mult: [1, 3] in the file, [1, 2]',
      ],
    ),
    (
      changed(resolution=128),
      ['attn_resolutions: [32, 8] in the file, [64] in'],
    ),
    (
      changed(attn_resolutions=None),
      ['attn_resolutions: None in the file, [32]'],
    ),
    (changed(double_z=True), ['double_z: True in the file, False']),
    (changed(in_channels=1), ['in_channels: 1 in the file, 3']),
    (changed(resolution=63), ['resolution must be a multiple of 2; got 63']),
    (changed(resolution=0), ['resolution must be a multiple of 2; got 0']),
    (changed(resolution='big'), ['no config of a VQGAN', 'big']),
    ('model: {params: {n_embed: 3}}', ['no config of a VQGAN', 'ddconfig']),
    ('[1]', ['no config of a VQGAN']),
    ('a: [', ['is no YAML']),
    ('', ['no config of a VQGAN: it is empty']),
    ('<!DOCTYPE html><html>', ['no config of a VQGAN: it is a web page']),
    ('!!python/object/apply:os.system [ls]', ['is no YAML']),
  ],
)
def test_configs_that_contradict_or_are_none(text, messages, tmp_path):
  path = tmp_path / 'model.yaml'
  path.write_text(text)
  said = refused(
    tmp_path / 'a', 'taming-vqgan', make_weights('taming-vqgan'), yaml=path
  )
  for message in (str(path), *messages):
    assert message in said
  assert '\n' not in said or 'contradicts' in said


def test_only_taming_has_a_config(tmp_path):
  said = refused(tmp_path / 'a', 'vit-vqgan', None, yaml=tmp_path / 'a')
  assert said == 'a vit-vqgan has no YAML that could be read.'
