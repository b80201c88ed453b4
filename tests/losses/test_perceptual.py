"""Laws of distances between images as networks see them."""

import functools
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.features import weights
from tests.golden import lpips_reference
from tests.utils.variables import random_variables
from vq_jax import features
from vq_jax.losses import perceptual


class Colour(nn.Module):
  """A classifier of the mean colour."""

  def __call__(self, image):
    return image.mean(axis=(1, 2)), None


class Layers(nn.Module):
  """A backbone of one layer, the pixels."""

  def __call__(self, image):
    return (image,)


VGG = features.VGG16(channels=(4, 4, 4, 4, 4))
EVERY = {
  'lpips': perceptual.LPIPS(VGG),
  'classifier': perceptual.ClassifierDistance(Colour()),
}
every = pytest.mark.parametrize('name', EVERY)


def pair():
  rng = np.random.default_rng(0)
  return rng.uniform(size=(2, 3, 16, 20, 3)).astype(np.float32)


@functools.cache
def initialised(name):
  variables = random_variables(EVERY[name], *pair())
  heads = {
    head: jnp.arange(1.0, 5)
    for head in variables.get('params', {})
    if head.startswith('head')
  }
  variables = {'params': {**variables.get('params', {}), **heads}}
  return jax.jit(EVERY[name].apply), variables


@every
def test_a_distance(name):
  apply, variables = initialised(name)
  a, b = pair()
  far = apply(variables, a, b)
  assert far.shape == (3,) and (far > 1e-4).all()
  np.testing.assert_allclose(apply(variables, b, a), far, rtol=1e-5)
  np.testing.assert_allclose(apply(variables, a, a), 0, atol=1e-9)
  each = [apply(variables, a[i : i + 1], b[i : i + 1])[0] for i in range(3)]
  np.testing.assert_allclose(each, far, rtol=1e-5)


@every
def test_gradients_reach_the_reconstruction(name):
  apply, variables = initialised(name)
  a, b = pair()
  slope = jax.jit(jax.grad(lambda x: apply(variables, a, x).sum()))
  assert np.isfinite(slope(b)).all() and np.abs(slope(b)).max() > 1e-5
  step = b - 1e-2 * slope(b) / np.abs(slope(b)).max()
  assert apply(variables, a, step).sum() < apply(variables, a, b).sum()
  assert np.abs(slope(a)).max() < 1e-3 * np.abs(slope(b)).max()


def test_gradients_are_finite_where_a_network_sees_nothing():
  """All features of a position are 0, as behind a relu."""
  distance = perceptual.LPIPS(Layers())
  black, white = jnp.zeros((1, 2, 2, 3)), jnp.ones((1, 2, 2, 3))
  variables = distance.init(jax.random.key(0), black, white)
  for other in (black, white):
    slope = jax.grad(lambda x, y=other: distance.apply(variables, y, x).sum())
    assert np.isfinite(slope(black)).all()


def test_lpips_by_hand():
  """Lengths do not matter; each channel counts as its head says."""
  distance = perceptual.LPIPS(Layers())
  image = jnp.array([[0.3, 0.4, 0.0], [0.1, 0.1, 0.1]]).reshape(1, 1, 2, 3)
  other = jnp.array([[0.7, 0.0, 0.0], [0.9, 0.9, 0.9]]).reshape(1, 1, 2, 3)
  variables = {'params': {'head_0': jnp.array([1.0, 2.0, 5.0])}}
  got = distance.apply(variables, image, other)
  # (0.6, 0.8, 0) from (1, 0, 0), and two of one direction
  want = (1 * 0.4**2 + 2 * 0.8**2 + 0) / 2
  np.testing.assert_allclose(got, [want], rtol=1e-5)


def test_lpips_adds_up_the_layers():
  apply, variables = initialised('lpips')
  a, b = pair()
  heads = {
    f'head_{i}': jnp.asarray(np.arange(4) + i, jnp.float32) for i in range(5)
  }
  trunk = variables['params']['backbone']
  layers = jax.jit(VGG.apply)
  want = np.zeros(3)
  for i, sides in enumerate(
    zip(*(layers({'params': trunk}, side) for side in (a, b)), strict=True)
  ):
    x, y = (
      side / (np.linalg.norm(side, axis=-1, keepdims=True) + 1e-10)
      for side in map(np.asarray, sides)
    )
    each = np.mean((x - y) ** 2, axis=(1, 2))
    want += each @ np.asarray(heads[f'head_{i}'])
  got = apply({'params': {'backbone': trunk, **heads}}, a, b)
  np.testing.assert_allclose(got, want, rtol=1e-4)


def test_half_precision_is_near():
  apply, variables = initialised('lpips')
  half = perceptual.LPIPS(VGG.clone(dtype=jnp.bfloat16))
  got = jax.jit(half.apply)(variables, *pair())
  assert got.dtype == jnp.float32
  np.testing.assert_allclose(got, apply(variables, *pair()), rtol=0.1)


def test_a_distance_of_logits_by_hand():
  image = jnp.zeros((1, 2, 2, 3))
  other = image.at[0, 0, 0].set(jnp.array([1.0, 2.0, 0.0]))
  got = EVERY['classifier'].apply({}, image, other)
  np.testing.assert_allclose(got, [(0.25**2 + 0.5**2) / 3], rtol=1e-6)


def test_a_distance_of_pooled_features_by_hand():
  """MaskGIT's; the logits have no part in it."""

  class Network(nn.Module):
    def __call__(self, image):
      return image.max(axis=(1, 2)), 2 * image.mean(axis=(1, 2))

  image = jnp.zeros((1, 2, 2, 3))
  other = image.at[0, 0, 0].set(jnp.array([1.0, 2.0, 0.0]))
  distance = perceptual.ClassifierDistance(Network(), features='pooled')
  got = distance.apply({}, image, other)
  np.testing.assert_allclose(got, [(0.5**2 + 1.0**2) / 3], rtol=1e-6)
  with pytest.raises(ValueError, match="'logits' or 'pooled'; got 'x'"):
    distance.clone(features='x').apply({}, image, other)


@every
def test_two_shapes_are_refused(name):
  apply, variables = initialised(name)
  a, _ = pair()
  with pytest.raises(ValueError, match=r'the same shape; got \(3, .*\(1, '):
    apply(variables, a, a[:1])


def test_an_unknown_net_is_refused():
  with pytest.raises(ValueError, match="'vgg16' or 'alexnet'; got 'vgg'"):
    perceptual.load_lpips('vgg')


@pytest.mark.parametrize('net', ['vgg16', 'alexnet'])
def test_released_weights_agree_with_the_official_package(net):
  weights.need(f'lpips_{net}')
  distance, variables = perceptual.load_lpips(net)
  apply = jax.jit(distance.apply)
  wanted = json.loads(lpips_reference.JSON.read_text())[net]
  for name, (image, other) in lpips_reference.pairs().items():
    got = apply(variables, image[None], other[None])
    np.testing.assert_allclose(got, [wanted[name]], atol=1e-5, err_msg=name)


@pytest.mark.parametrize('on', ['logits', 'pooled'])
def test_a_blurrier_image_has_a_larger_classifier_distance(on):
  weights.need('efficientnet_lite0')
  distance, variables = perceptual.load_classifier_distance(features=on)
  image, blurred = lpips_reference.pairs()['blurred']
  more = lpips_reference.blur(blurred)
  others = np.stack([image, blurred, more])
  got = jax.jit(distance.apply)(
    variables, np.broadcast_to(image, others.shape), others
  )
  assert abs(got[0]) < 1e-6 < got[1] < got[2]
