"""The classifier of a run as an extractor of features."""

import hashlib
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from vq_jax.features import extractors
from vq_jax.metrics import classifier as classifier_lib
from vq_jax.utils import trees


def make_extractor(
  classifier: classifier_lib.Classifier, image_shape: tuple[int, int, int]
) -> extractors.FeatureExtractor:
  """Makes an extractor of a classifier that was fitted to the data of a run.

  It is fast on a CPU and needs no weights, but its numbers can be compared only
  with numbers of the same classifier.

  Args:
    classifier: the classifier.
    image_shape: (H, W, C) of its images, C is 1 or 3. Images of another size
      are refused.

  Returns:
    the extractor, with the outputs 'pooled' [B, 64] and 'logits'
    [B, num_classes].

  Example:
    >>> import numpy as np
    >>> from vq_jax import evaluation, metrics
    >>> images = np.zeros((4, 8, 8, 1), np.uint8)
    >>> images[2:] = 255
    >>> fitted = metrics.classifier.fit(
    ...   images, np.array([0, 0, 1, 1]), 2, epochs=1
    ... )
    >>> extractor = evaluation.classifier.make_extractor(fitted, (8, 8, 1))
    >>> extractor(images)['pooled'].shape
    (4, 64)
  """
  *size, channels = image_shape

  def classify(
    network: nn.Module, params: dict[str, Any], images: jax.Array
  ) -> dict[str, jax.Array]:
    logits, features = network.apply(
      {'params': params}, images[..., :channels] / 255
    )
    return {'pooled': features, 'logits': logits}

  return extractors.from_network(
    classifier.network,
    classifier.params,
    classify,
    name='classifier',
    checksum=_checksum(classifier.params),
    size=tuple(size),
    resizer='none',
  )


def _checksum(params: dict[str, Any]) -> str:
  digest = hashlib.sha256()
  for name, array in sorted(trees.flatten(params).items()):
    digest.update(f'{name}{array.shape}'.encode())
    digest.update(np.ascontiguousarray(array, np.float32))
  return digest.hexdigest()
