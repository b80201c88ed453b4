"""Inception-v3 of the FID equals PyTorch; its weights, and their errors."""

import hashlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.convert import writing
from tests.golden import inception as golden
from vq_jax import features
from vq_jax.features import inception
from vq_jax.features import inception_loading
from vq_jax.utils.conversion import errors

NETWORK = inception.InceptionV3(width=golden.WIDTH, num_classes=golden.CLASSES)


@pytest.fixture(scope='module')
def layers():
  """Name -> the output of each block, and the features."""
  variables = inception_loading.convert(golden.state(), NETWORK)
  found, state = jax.jit(
    lambda images: NETWORK.apply(variables, images, capture_intermediates=True)
  )(golden.images().astype(np.float32) / 255)
  blocks = state['intermediates']
  return found | {
    name: block['__call__'][0]
    for name, block in blocks.items()
    if name in golden.BLOCKS
  }


def check(got, want):
  """Compares relative to the deviation of the numbers."""
  np.testing.assert_allclose(got / np.std(want), want / np.std(want), atol=1e-4)


def test_each_block_equals_pytorch(layers):
  pytest.importorskip('torch')
  image = (golden.images().astype(np.float32) - 128) / 128
  want = golden.torch_inception(golden.state(), image)
  assert want.keys() - layers.keys() == {'stem'}
  for name in want.keys() - {'stem'}:
    check(layers[name], want[name])


def test_each_block_equals_the_stored_numbers_of_pytorch(layers):
  stored = json.loads(golden.JSON.read_text())
  assert stored.keys() >= golden.BLOCKS.keys() | {'pooled', 'spatial'}
  for name in stored.keys() - {'stem'}:
    check(golden.excerpt(layers[name]), np.array(stored[name]))


def test_the_spatial_features_are_the_first_channels_of_mixed_6d(layers):
  block = layers['Mixed_6d']
  assert NETWORK.spatial_channels == 7
  np.testing.assert_array_equal(
    layers['spatial'], block[..., :7].reshape(len(block), -1)
  )


def test_too_small_images():
  with pytest.raises(ValueError, match='at least 75 x 75.*74'):
    jax.eval_shape(NETWORK.init, jax.random.key(0), jnp.zeros((1, 75, 74, 3)))


@pytest.fixture
def released(tmp_path, monkeypatch):
  """Toy weights, which are taken for the released ones."""
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  monkeypatch.setenv('VQ_JAX_WEIGHTS', str(tmp_path))
  path = tmp_path / inception_loading.FILE
  writing.save(path, golden.state())
  checksum = hashlib.sha256(path.read_bytes()).hexdigest()
  monkeypatch.setattr(inception_loading, 'SHA256', checksum)
  monkeypatch.setattr(
    inception, 'InceptionV3', lambda **options: NETWORK.clone(**options)
  )
  return path


@pytest.mark.parametrize('given', [False, True])
def test_the_released_file(released, given):
  network, variables = features.load_inception(released if given else None)
  assert network.value_range == inception.GRAPH_RANGE
  want = inception_loading.convert(golden.state(), NETWORK)
  jax.tree.map(np.testing.assert_array_equal, variables, want)


def test_the_extractor(released):
  """pytorch-fid maps pixels to 2 x / 255 - 1, the graph to x / 128 - 1."""
  image = golden.images()[:1]
  extractor = features.load_extractor(resizer='pytorch')
  assert extractor.name == 'inception'
  assert extractor.checksum == inception_loading.SHA256
  assert extractor.outputs == ('logits', 'pooled', 'spatial')
  found = extractor(image)
  assert found['spatial'].shape == (1, 2023)
  network, variables = features.load_inception()
  want = jax.jit(network.apply)(
    variables, extractor.resize(image) / 255 * (256 / 255)
  )
  for name, array in found.items():
    np.testing.assert_allclose(array, want[name], rtol=1e-3, atol=1e-4)


def test_missing_weights(tmp_path, monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  monkeypatch.setenv('VQ_JAX_WEIGHTS', str(tmp_path / 'weights'))
  with pytest.raises(features.MissingWeights) as caught:
    features.load_extractor()
  message = str(caught.value)
  for part in (
    'pt_inception-2015-12-05-6726825d.pth',
    '6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2',
    'https://github.com/mseitzer/pytorch-fid/releases/',
    str(tmp_path / 'weights'),
    str(tmp_path / 'cache' / 'vq_jax' / 'weights'),
    '--features efficientnet_lite0',
  ):
    assert part in message
  assert '\n' not in message


def test_another_file(released):
  released.write_bytes(b'something else')
  for path in (None, released):
    with pytest.raises(ValueError, match='must have the sha256.*Download'):
      features.load_inception(path)
  with pytest.raises(OSError, match='nowhere'):
    features.load_inception(released.parent / 'nowhere')


def test_an_incomplete_state_dict():
  state = golden.state()
  del state['Mixed_5b.branch1x1.bn.running_var']
  with pytest.raises(errors.ConvertError, match='no Mixed_5b.*running_var'):
    inception_loading.convert(state, NETWORK)
  state = golden.state()
  for kind in ('conv.weight', 'bn.weight'):
    state[f'Mixed_9z.{kind}'] = state[f'Conv2d_1a_3x3.{kind}']
  state.pop('fc.weight')
  with pytest.raises(errors.ConvertError):
    inception_loading.convert(state, NETWORK)
