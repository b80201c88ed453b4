"""The networks compute what was published; released weights fit them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import datasets

from tests.features import weights
from tests.utils.variables import random_variables
from vq_jax import features
from vq_jax.features import efficientnet
from vq_jax.utils import trees


def images(*shape):
  rng = np.random.default_rng(0)
  return rng.uniform(size=shape).astype(np.float32)


def conv(x, layer, stride, padding):
  """By the definition, in float64."""
  kernel = np.asarray(layer['kernel'], np.float64)
  x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
  windows = np.lib.stride_tricks.sliding_window_view(
    x, kernel.shape[:2], axis=(1, 2)
  )[:, ::stride, ::stride]
  y = np.einsum('bhwcij,ijcd->bhwd', windows, kernel)
  return np.maximum(y + np.asarray(layer['bias']), 0)


def pool(x, window):
  windows = np.lib.stride_tricks.sliding_window_view(
    x, (window, window), axis=(1, 2)
  )
  return windows[:, ::2, ::2].max(axis=(-1, -2))


def normalized(image):
  mean = (np.array([-0.030, -0.088, -0.188]) + 1) / 2
  return (image - mean) / (np.array([0.458, 0.448, 0.450]) / 2)


def shapes(network):
  return jax.eval_shape(
    network.init, jax.random.key(0), jnp.zeros((1, 64, 64, 3))
  )


def check(network, image, want):
  variables = random_variables(network, image)
  params = jax.device_get(variables['params'])
  got = jax.jit(network.apply)(variables, image)
  for found, expected in zip(got, want(params), strict=True):
    assert expected.max() > 0
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_vgg16_by_the_definition():
  image = images(2, 37, 50, 3)

  def want(params):
    x, i = normalized(image), 0
    for layers in (2, 2, 3, 3, 3):
      for _ in range(layers):
        x = conv(x, params[f'Conv_{i}'], 1, 1)
        i += 1
      yield x
      x = pool(x, 2)

  check(features.VGG16(channels=(2, 3, 4, 3, 2)), image, want)


def test_alexnet_by_the_definition():
  image = images(2, 64, 75, 3)

  def want(params):
    x = conv(normalized(image), params['Conv_0'], 4, 2)
    yield x
    x = conv(pool(x, 3), params['Conv_1'], 1, 2)
    yield x
    x = pool(x, 3)
    for i in (2, 3, 4):
      x = conv(x, params[f'Conv_{i}'], 1, 1)
      yield x

  check(features.AlexNet(channels=(3, 4, 5, 4, 3)), image, want)


@pytest.mark.parametrize(
  ('network', 'smallest'), [(features.VGG16, 16), (features.AlexNet, 31)]
)
def test_the_smallest_image(network, smallest):
  network = network(channels=(2,) * 5)

  def init(*shape):
    return jax.eval_shape(
      network.init_with_output, jax.random.key(0), jnp.zeros(shape)
    )[0]

  found = init(1, smallest, smallest, 3)
  assert found[-1].shape[1:3] == (1, 1)
  for shape in [(1, smallest - 1, 64, 3), (1, 64, 64, 4), (64, 64, 3)]:
    with pytest.raises(ValueError, match=f'at least {smallest}'):
      init(*shape)


def test_one_channel_is_repeated():
  network = features.VGG16(channels=(2,) * 5)
  grey = images(1, 16, 16, 1)
  variables = random_variables(network, grey)
  apply = jax.jit(network.apply)
  np.testing.assert_array_equal(
    apply(variables, grey)[0], apply(variables, np.repeat(grey, 3, -1))[0]
  )


@pytest.mark.parametrize('size', [(7, 10), (8, 9)])
@pytest.mark.parametrize('kernel', [3, 5])
@pytest.mark.parametrize('stride', [1, 2])
def test_a_depthwise_convolution_is_one_of_as_many_groups(kernel, stride, size):
  x = images(2, *size, 4)
  weights = images(kernel, kernel, 4)
  bias = images(4)
  layer = efficientnet.DepthwiseConv(kernel, stride)

  def ours(x, weights):
    return layer.apply({'params': {'kernel': weights, 'bias': bias}}, x)

  def grouped(x, weights):
    y = jax.lax.conv_general_dilated(
      x,
      weights[:, :, None],
      (stride, stride),
      'SAME',
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
      feature_group_count=4,
    )
    return y + bias.reshape(1, 1, 1, 4)

  got, pull_back = jax.vjp(ours, x, weights)
  want, pull_back_grouped = jax.vjp(grouped, x, weights)
  np.testing.assert_allclose(got, want, atol=1e-5)
  back = images(*got.shape)
  for one, two in zip(pull_back(back), pull_back_grouped(back), strict=True):
    np.testing.assert_allclose(one, two, atol=1e-4)


def state(**shapes):
  """A state dict as released, with random layers of these shapes."""
  found = {}
  for name, (weight, norm) in shapes.items():
    c = weight[0]
    kinds = ('weight', 'bias', 'running_mean', 'running_var')
    found[name] = images(*weight) - 0.5
    found |= {f'{norm}.{kind}': images(c) + i for i, kind in enumerate(kinds)}
  return found


def test_batch_norm_is_folded_into_its_convolution():
  """Convolving and then normalising is what the one layer does."""
  block = '_blocks.0.'
  layers = {
    '_conv_stem.weight': ((4, 3, 3, 3), '_bn0'),
    f'{block}_depthwise_conv.weight': ((4, 1, 5, 5), f'{block}_bn1'),
    f'{block}_project_conv.weight': ((6, 4, 1, 1), f'{block}_bn2'),
    '_conv_head.weight': ((8, 6, 1, 1), '_bn1'),
  }
  released = state(**layers) | {
    '_fc.weight': images(10, 8),
    '_fc.bias': images(10),
  }
  params = efficientnet.convert(released)
  assert params.keys() == {'stem', 'block_0', 'head', 'logits'}
  assert params['block_0'].keys() == {'depthwise', 'project'}
  ours = [params['stem'], *params['block_0'].values(), params['head']]
  for (name, (shape, norm)), layer in zip(layers.items(), ours, strict=True):
    groups = 4 if 'depthwise' in name else 1
    x = images(2, shape[1] * groups, 6, 6)

    def convolve(weight, x=x, groups=groups):
      return np.asarray(
        jax.lax.conv_general_dilated(
          x, weight, (1, 1), 'SAME', feature_group_count=groups
        )
      )

    y = convolve(released[name]).transpose(0, 2, 3, 1)
    y = (y - released[f'{norm}.running_mean']) / np.sqrt(
      released[f'{norm}.running_var'] + 1e-3
    )
    want = y * released[f'{norm}.weight'] + released[f'{norm}.bias']
    kernel = layer['kernel']
    if groups > 1:
      kernel = kernel[:, :, None]
    elif kernel.ndim == 2:
      kernel = kernel[None, None]
    got = convolve(kernel.transpose(3, 2, 0, 1)).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(got + layer['bias'], want, atol=1e-4)


@pytest.mark.parametrize('name', efficientnet.NETWORKS)
def test_released_efficientnets_have_the_published_size(name):
  """Tan and Le's table, without the statistics that the norms have kept."""
  found = shapes(features.EfficientNetLite(**efficientnet.NETWORKS[name]))
  count = trees.count(found)
  blocks = sum(layer.startswith('block') for layer in found['params'])
  want = {
    'efficientnet_lite0': (16, 4_631_000),
    'efficientnet_lite2': (21, 6_063_024),
  }
  assert (blocks, count) == want[name]


@functools.cache
def small_efficientnet():
  network = features.EfficientNetLite(width=0.5, depth=0.3, size=32)
  variables = random_variables(network, images(1, 32, 32, 3))
  return network, variables, jax.jit(network.apply)


def test_an_efficientnet_takes_images_of_any_size():
  _, variables, apply = small_efficientnet()
  colour = np.float32([0.2, 0.5, 0.9]).reshape(1, 1, 1, 3)
  logits, pooled = apply(variables, np.broadcast_to(colour, (1, 32, 32, 3)))
  other, _ = apply(variables, np.broadcast_to(colour, (1, 50, 23, 3)))
  np.testing.assert_allclose(other, logits, rtol=1e-3, atol=1e-4)
  assert 0 <= pooled.min() and 0 < pooled.max() <= 6
  layer = jax.device_get(variables['params']['logits'])
  want = np.asarray(pooled) @ layer['kernel'] + layer['bias']
  np.testing.assert_allclose(logits, want, rtol=1e-3, atol=1e-4)


def test_an_efficientnet_in_half_precision_is_near():
  network, variables, apply = small_efficientnet()
  image = images(1, 32, 32, 3)
  want, _ = apply(variables, image)
  half = network.clone(dtype=jnp.bfloat16)
  got, pooled = jax.jit(half.apply)(variables, image)
  assert got.dtype == pooled.dtype == jnp.float32
  assert 0 < np.abs(got - want).max() < 0.1 * np.abs(want).max()


@pytest.mark.parametrize('name', efficientnet.NETWORKS)
def test_released_efficientnets_recognize_a_palace(name):
  """And Lite0 a daisy; the classes by their numbers in ImageNet."""
  weights.need(name)
  network, variables = features.load(name)
  trees.merge_strict(shapes(network), variables)
  apply = jax.jit(network.apply)

  def best(file_name):
    image = datasets.load_sample_image(file_name).astype(np.float32) / 255
    logits, _ = apply(variables, image[None])
    return np.argsort(-logits[0])[:5].tolist()

  assert 698 in best('china.jpg')
  if name == 'efficientnet_lite0':
    assert 985 in best('flower.jpg')


def test_an_unknown_network_is_refused():
  with pytest.raises(ValueError, match="'vgg'.*lpips_vgg16"):
    features.load('vgg')
