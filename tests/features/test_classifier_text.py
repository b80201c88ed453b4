"""An image is embedded as a mixture of the names of its classes."""

import functools

import flax.linen as nn
import jax
import numpy as np
import pytest
from sklearn import datasets

from tests.features import weights
from tests.utils.variables import random_variables
from vq_jax import features


class Classifier(nn.Module):
  """Five classes by the mean colour, and no features."""

  @nn.compact
  def __call__(self, image):
    return nn.Dense(5)(20 * image.mean(axis=(1, 2))), None


@pytest.fixture(scope='module')
def small():
  module = features.ClassifierText(Classifier(), embedding_dim=8)
  image = np.random.default_rng(0).uniform(size=(2, 4, 4, 3))
  image = image.astype(np.float32)
  variables = random_variables(module, image, method=module.encode_image)
  return module, variables, image


def encode(module, variables, image):
  apply = jax.jit(functools.partial(module.apply, method='encode_image'))
  return np.asarray(apply(variables, image))


def test_the_embedding_is_the_mean_of_the_classes(small):
  module, variables, image = small
  params = variables['params']
  logits, _ = module.classifier.apply({'params': params['classifier']}, image)
  logits = np.asarray(logits, np.float64)
  for temperature in (1.0, 3.0):
    weight = np.exp(logits / temperature)
    mean = weight @ np.asarray(params['class_embeddings'])
    want = mean / np.linalg.norm(mean, axis=-1, keepdims=True)
    got = encode(module.clone(temperature=temperature), variables, image)
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4)


def test_a_certain_classifier_says_the_name_of_the_class(small):
  module, variables, image = small
  cold = encode(module.clone(temperature=1e-4), variables, image)
  table = np.asarray(variables['params']['class_embeddings'])
  names = table / np.linalg.norm(table, axis=-1, keepdims=True)
  np.testing.assert_allclose((cold @ names.T).max(axis=-1), 1, rtol=1e-4)


def test_images_receive_gradients(small):
  module, variables, image = small

  def score(image):
    found = module.apply(variables, image, method=module.encode_image)
    return found[:, 0].sum()

  gradient = jax.jit(jax.grad(score))(image)
  assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


def test_another_classifier_is_refused():
  with pytest.raises(ValueError, match='efficientnet_lite2.*lpips_vgg16'):
    features.load_classifier_text('lpips_vgg16')


def test_released_weights_tell_a_palace_from_a_flower():
  for name in ('efficientnet_lite0', 'minilm_l6', 'imagenet_class_names'):
    weights.need(name)
  pytest.importorskip('tokenizers')
  module, variables, encode_texts = features.load_classifier_text()
  texts = encode_texts(['a chinese temple', 'a yellow flower', 'a cat'])
  images = [
    datasets.load_sample_image(f'{name}.jpg') for name in ('china', 'flower')
  ]
  found = encode(module, variables, np.stack(images) / np.float32(255))
  np.testing.assert_allclose(np.linalg.norm(found, axis=-1), 1, rtol=1e-5)
  assert (found @ texts.T).argmax(axis=-1).tolist() == [0, 1]
