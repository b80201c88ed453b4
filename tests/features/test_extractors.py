"""Extractors of features: batches, devices and errors."""

import functools
import hashlib

import jax
import numpy as np
import pytest

from tests.convert import torchscript
from tests.evaluation import extractors as delayed
from tests.features import weights
from tests.golden import clip as clip_golden
from vq_jax import features
from vq_jax.features import extractors


def images(*shape):
  return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def moments(network, variables, images):
  del network
  return {
    'pooled': images.mean((1, 2)) * variables['scale'],
    'spatial': images.reshape(len(images), -1),
  }


@pytest.fixture(scope='module')
def extractor():
  return extractors.from_network(
    None,
    {'scale': np.float32(2)},
    moments,
    name='moments',
    checksum='0' * 64,
    size=(4, 4),
    resizer='none',
  )


@pytest.mark.parametrize('count', [1, 5, 64, 67])
def test_features_of_an_image_do_not_depend_on_the_batch(extractor, count):
  given = images(count, 4, 4, 3)
  found = extractor(given)
  assert extractor.outputs == ('pooled', 'spatial')
  assert found.keys() == set(extractor.outputs)
  np.testing.assert_array_equal(found['spatial'], given.reshape(count, -1))
  np.testing.assert_allclose(found['pooled'], 2 * given.mean((1, 2)), rtol=1e-5)


def test_two_parts_of_a_large_batch_are_on_the_devices():
  log = []
  given = images(64 * 4 + 1, 2, 2, 3)
  wait = delayed.delayed(log).start(given)
  assert log == ['resize', *['resize', 'wait'] * 4]
  assert len(wait()['pooled']) == len(given) and log[-1] == 'wait'


def test_all_devices_take_part(extractor):
  assert jax.local_device_count() > 1
  count = jax.local_device_count()
  seen = []

  def apply(batch):
    seen.append(batch.sharding.num_devices)
    return moments(None, {'scale': 1.0}, batch)

  features.FeatureExtractor(**vars(extractor) | {'apply': apply})(
    images(2, 4, 4, 3)
  )
  assert seen == [count]


def test_networks_are_computed_in_full_precision():
  """The default of GPUs and TPUs is less."""

  def multiply(network, variables, images):
    return {'pooled': images.reshape(len(images), -1) @ variables}

  extractor = extractors.from_network(
    None,
    np.ones((48, 2), np.float32),
    multiply,
    name='product',
    checksum=None,
    size=(4, 4),
    resizer='none',
  )
  program = jax.make_jaxpr(extractor.apply)(np.zeros((1, 4, 4, 3), np.float32))
  assert 'Precision.HIGHEST' in str(program)


def test_one_channel_is_repeated(extractor):
  grey = images(2, 4, 4, 1)
  np.testing.assert_array_equal(
    extractor(grey)['pooled'], extractor(np.repeat(grey, 3, -1))['pooled']
  )


@pytest.mark.parametrize(
  ('given', 'message'),
  [
    (np.zeros((1, 4, 4, 3), np.float32), 'must be uint8.*float32.*to_uint8'),
    (images(4, 4, 3), 'must be.*B, H, W, 3.*4, 4, 3'),
    (images(1, 4, 4, 2), 'must be.*B, H, W, 3.*1, 4, 4, 2'),
    (images(0, 4, 4, 3), 'at least one'),
    (images(2, 0, 4, 3), 'at least one pixel'),
    (images(1, 5, 4, 3), '4 x 4 pixels; got 5 x 4'),
  ],
)
def test_images_that_no_network_takes(extractor, given, message):
  with pytest.raises(ValueError, match=message):
    extractor(given)


def test_unknown_names():
  with pytest.raises(ValueError, match="'vgg'.*efficientnet_lite0"):
    features.load_extractor('vgg')
  with pytest.raises(ValueError, match="resizer 'lanczos'.*clean"):
    features.load_extractor('efficientnet-lite0', resizer='lanczos')


def test_the_released_efficientnet():
  """A hyphen in the name is accepted."""
  weights.need('efficientnet_lite0')
  extractor = features.load_extractor('efficientnet-lite0')
  assert extractor.name == 'efficientnet_lite0'
  assert extractor.checksum.startswith('57934424')
  assert extractor.resizer == 'clean'
  assert extractor.resize(images(1, 40, 30, 3)).shape == (1, 224, 224, 3)
  found = extractor(images(1, 40, 30, 3))
  assert found['pooled'].shape == (1, 1280)
  assert found['logits'].shape == (1, 1000)


def test_the_embeddings_of_clip(tmp_path):
  toy = clip_golden.TOYS['two by two patches']
  path = torchscript.save(
    tmp_path / 'toy.pt', torchscript.modules(clip_golden.openai(toy))
  )
  extractor = features.load_extractor(f'clip:{path}')
  assert extractor.name == 'clip:toy.pt'
  assert extractor.checksum == hashlib.sha256(path.read_bytes()).hexdigest()
  assert extractor.outputs == ('pooled',)
  given = images(2, 16, 16, 3)
  clip, variables = features.load_clip(path)
  want = jax.jit(functools.partial(clip.apply, method='encode_image'))(
    variables, given.astype(np.float32) / 255
  )
  np.testing.assert_allclose(extractor(given)['pooled'], want, atol=1e-5)


def test_without_the_weights_of_clip(tmp_path, monkeypatch):
  for name in ('HOME', 'XDG_CACHE_HOME', 'VQ_JAX_WEIGHTS'):
    monkeypatch.setenv(name, str(tmp_path))
  with pytest.raises(
    features.MissingWeights, match='L-14-336px.pt.*sha256.*efficientnet_lite0'
  ):
    features.load_extractor('clip')
