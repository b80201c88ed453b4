"""The features of the classifier of a run."""

import numpy as np
import pytest

import vq_jax
from vq_jax import evaluation
from vq_jax.metrics import classifier as classifier_lib


@pytest.mark.parametrize('channels', [1, 3])
def test_the_features_are_those_of_the_classifier(channels):
  shape = (12, 8, channels)
  images = np.random.default_rng(0).integers(0, 256, (6, *shape), np.uint8)
  fitted = classifier_lib.fit(images, np.arange(6) % 2, 2, epochs=1)
  extractor = evaluation.classifier.make_extractor(fitted, shape)
  assert extractor.name == 'classifier' and extractor.resizer == 'none'
  found = extractor(images)
  for name, want in zip(('logits', 'pooled'), fitted(images), strict=True):
    np.testing.assert_allclose(found[name], want, atol=1e-5)
  with pytest.raises(ValueError, match='12 x 8 pixels; got 8 x 12'):
    extractor(images.swapaxes(1, 2))


def test_equal_weights_have_equal_checksums():
  images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), np.uint8)
  checksums = [
    evaluation.classifier.make_extractor(
      classifier_lib.fit(images, np.arange(4) % 2, 2, epochs=1, seed=seed),
      (8, 8, 1),
    ).checksum
    for seed in (0, 0, 1)
  ]
  assert checksums[0] == checksums[1] != checksums[2]
  assert len(checksums[0]) == 64


def test_the_classifier_of_a_run(maskgit, tmp_path):
  model = vq_jax.load(maskgit)
  first, second = (
    evaluation.classifier.of_run(model, tmp_path) for _ in range(2)
  )
  assert first.checksum == second.checksum
  assert len(list(tmp_path.glob('*.npz'))) == 1
  images = np.zeros((2, *model.info.image_shape), np.uint8)
  classes = len(model.info.class_names)
  assert first(images)['logits'].shape == (2, classes)
