"""Where CLIPs are searched, what is read off a file, and what is refused."""

import hashlib
import json
import pathlib

import numpy as np
import pytest

from tests.convert import torchscript
from tests.convert import writing
from tests.convert.test_safetensors import save_arrays
from tests.golden import clip as golden
from vq_jax import features
from vq_jax.features import clip_loading
from vq_jax.utils.conversion import errors

TOY = golden.TOYS['two by two patches']
VQGAN = pathlib.Path(__file__).parents[1] / 'golden' / 'taming_vqgan_toy.ckpt'


@pytest.fixture
def weights(tmp_path, monkeypatch):
  """A folder for weights; no other folder has any."""
  monkeypatch.setenv('HOME', str(tmp_path / 'home'))
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  monkeypatch.setenv('VQ_JAX_WEIGHTS', str(tmp_path / 'weights'))
  (tmp_path / 'weights').mkdir()
  return tmp_path / 'weights'


@pytest.mark.parametrize('name', clip_loading.RELEASES)
def test_the_message_on_missing_weights_says_how_to_get_them(name, weights):
  release = clip_loading.RELEASES[name]
  with pytest.raises(features.MissingWeights) as caught:
    features.load_clip(name)
  message = str(caught.value)
  for part in (
    name,
    release.url,
    release.sha256,
    f'{release.megabytes} MB',
    str(weights),
    str(weights.parent / 'cache' / 'vq_jax' / 'weights'),
    str(weights.parent / 'home' / '.cache' / 'clip'),
  ):
    assert part in message
  assert '\n' not in message


def test_a_release_is_found_in_each_folder_and_checked(weights, monkeypatch):
  name, toy = 'ViT-B/32', torchscript.modules(golden.openai(TOY))
  file = clip_loading.RELEASES[name].file
  for folder in (
    weights.parent / 'home' / '.cache' / 'clip',
    weights.parent / 'cache' / 'vq_jax' / 'weights',
    weights,
  ):
    folder.mkdir(parents=True, exist_ok=True)
    path = torchscript.save(folder / file, toy)
    with pytest.raises(ValueError, match=f'{path} must have the sha256'):
      features.load_clip(name)
  checksum = hashlib.sha256(path.read_bytes()).hexdigest()
  known = clip_loading.OpenAIRelease(file=file, sha256=checksum, megabytes=1)
  monkeypatch.setitem(clip_loading.RELEASES, name, known)
  clip, _ = features.load_clip(name)
  assert clip.config.image_size == TOY.image_size


def test_paths_that_do_not_exist(tmp_path):
  with pytest.raises(features.MissingWeights, match='does not exist.*RN50.pt'):
    features.load_clip(tmp_path / 'none.pt')
  with pytest.raises(features.MissingWeights, match='model.safetensors'):
    features.load_clip(tmp_path)


def without(*names):
  return {k: v for k, v in golden.state(TOY).items() if k not in names}


def only(*starts):
  arrays = golden.huggingface(golden.state(TOY))
  return {k: v for k, v in arrays.items() if k.startswith(starts)}


@pytest.mark.parametrize(
  ('arrays', 'message'),
  [
    (only('text_'), 'is no CLIP: it has text encoder only'),
    (only('vision_', 'visual_'), 'is no CLIP: it has image encoder only'),
    (without('text_projection'), 'is no CLIP: it has no text_projection'),
    (without('visual.proj'), r'1 arrays are missing \(-\).*head/kernel'),
    (without('ln_final.bias', 'visual.ln_pre.bias'), '2 arrays are missing'),
    ({**without(), 'visual.more': np.ones(2, 'f4')}, r'\? visual.more'),
    ({**without(), 'ln_final.bias': np.ones(2, 'f4')}, '! .*norm_out/bias'),
    (
      {**without(), 'visual.positional_embedding': np.ones((7, 64), 'f4')},
      '7 positions, which are not one and those of a square grid',
    ),
    (
      {**without(), 'visual.conv1.weight': np.ones((63, 3, 8, 8), 'f4')},
      'heads of its image encoder of width 63 are unknown',
    ),
  ],
  ids=[
    'text encoder',
    'image encoder',
    'no head',
    'no image head',
    'no biases',
    'unknown',
    'shape',
    'grid',
    'heads',
  ],
)
def test_what_is_no_complete_clip_gets_one_line(arrays, message, tmp_path):
  path = save_arrays(tmp_path / 'a.safetensors', arrays)
  with pytest.raises(errors.ConvertError, match=message) as caught:
    features.load_clip(path)
  assert '\n' not in str(caught.value)
  assert str(path) in str(caught.value)


def test_a_resnet_without_statistics(tmp_path):
  arrays = golden.state(golden.TOYS['resnet'])
  del arrays['visual.layer1.0.bn2.running_var']
  path = save_arrays(tmp_path / 'a.safetensors', arrays)
  with pytest.raises(
    errors.ConvertError, match='no visual.layer1.0.bn2.running_var'
  ):
    features.load_clip(path)


def test_other_files_get_one_line(tmp_path):
  cut = torchscript.save(
    tmp_path / 'cut.pt', torchscript.modules(golden.state(TOY))
  )
  cut.write_bytes(cut.read_bytes()[:5000])
  picture = tmp_path / 'picture.pt'
  picture.write_bytes(b'\xff\xd8\xff\xe0' + bytes(100))
  for path, message in (
    (VQGAN, 'is no CLIP: it has no encoder'),
    (cut, 'cut off or damaged'),
    (picture, 'it is a JPEG image'),
  ):
    with pytest.raises(errors.ConvertError, match=message) as caught:
      features.load_clip(path)
    assert '\n' not in str(caught.value)


def read_config(folder, **kwargs):
  clip, _ = features.load_clip(folder, **kwargs)
  return clip.config


def test_activation_and_heads_of_a_config_of_open_clip(tmp_path):
  save_arrays(tmp_path / 'open_clip_model.safetensors', golden.state(TOY))
  with pytest.warns(errors.ConvertWarning, match="need activation='gelu'"):
    assert read_config(tmp_path).activation == 'quick_gelu'
  model = {
    'embed_dim': golden.DIM,
    'vision_cfg': {'width': 64, 'head_width': 16, 'patch_size': 8},
    'text_cfg': {'heads': 2},
  }
  file = tmp_path / 'open_clip_config.json'
  file.write_text(json.dumps({'model_cfg': model}))
  config = read_config(tmp_path)
  assert config.activation == 'gelu'
  assert (config.vision.heads, config.text_heads) == (4, 2)
  file.write_text(json.dumps({'model_cfg': {**model, 'quick_gelu': True}}))
  assert read_config(tmp_path).activation == 'quick_gelu'
  assert read_config(tmp_path, activation='gelu').activation == 'gelu'


def test_configs_that_cannot_be_read(tmp_path):
  arrays = golden.huggingface(golden.state(TOY))
  save_arrays(tmp_path / 'model.safetensors', arrays)
  config = golden.huggingface_config(TOY, hidden_act='relu')
  file = tmp_path / 'config.json'
  file.write_text(json.dumps(config))
  with pytest.raises(errors.ConvertError, match='got quick_gelu, relu'):
    features.load_clip(tmp_path)
  for field, value, message in (
    ('layer_norm_eps', 1e-6, 'layer_norm_eps .* 1e-05.*; got 1e-06'),
    ('num_attention_heads', 'two', 'text_heads must be .*; got .two'),
    ('num_attention_heads', 7, 'width 64 of the text encoder .*; got 7'),
  ):
    changed = golden.huggingface_config(TOY, **{field: value})
    file.write_text(json.dumps(changed))
    with pytest.raises(errors.ConvertError, match=message):
      features.load_clip(tmp_path)
  file.write_text('{"model_type": "clip", "text_config": [1]}')
  with pytest.raises(errors.ConvertError, match='text_config .* be a dict'):
    features.load_clip(tmp_path)
  file.write_text('{')
  with pytest.raises(errors.ConvertError, match='config.json is no JSON file'):
    features.load_clip(tmp_path)
  file.write_text('{"model_type": "bert"}')  # of another model
  assert read_config(tmp_path, activation='gelu').end_token is None


def test_configs_of_open_clip_that_cannot_be_read(tmp_path):
  save_arrays(tmp_path / 'open_clip_model.safetensors', golden.state(TOY))
  vision = {'width': 64, 'patch_size': 8, 'head_width': 0}
  (tmp_path / 'open_clip_config.json').write_text(
    json.dumps({'model_cfg': {'vision_cfg': vision}})
  )
  with pytest.raises(errors.ConvertError, match='positive integer; got 0'):
    features.load_clip(tmp_path)


def test_mean_and_deviation_of_pixels_are_read(tmp_path):
  half = [0.5, 0.5, 0.5]
  folders = {name: tmp_path / name for name in ('hf', 'oc', 'none')}
  for folder in folders.values():
    folder.mkdir()
    save_arrays(folder / 'model.safetensors', golden.openai(TOY))
  config = {
    'preprocess_cfg': {'mean': half, 'std': half},
    'model_cfg': {'n': 1},
  }
  path = folders['oc'] / 'open_clip_config.json'
  path.write_text(json.dumps(config))
  config = golden.huggingface_config(TOY)
  (folders['hf'] / 'config.json').write_text(json.dumps(config))
  path = folders['hf'] / 'preprocessor_config.json'
  path.write_text(json.dumps({'image_mean': half, 'image_std': half}))
  for name in ('hf', 'oc'):
    config = read_config(folders[name])
    assert config.mean == config.std == (0.5, 0.5, 0.5)
  config = read_config(folders['none'])
  assert (config.mean, config.std) == (golden.MEAN, golden.STD)


def test_a_clip_within_a_larger_checkpoint_is_reported(tmp_path):
  arrays = {f'guide.{k}': v for k, v in golden.state(TOY).items()}
  writing.save(tmp_path / 'a.pt', arrays)
  with pytest.warns(errors.ConvertWarning, match="found at 'guide.'"):
    features.load_clip(tmp_path / 'a.pt', activation='gelu')
