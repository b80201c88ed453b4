"""The classifier of a run as an extractor of features."""

import hashlib
import os
import pathlib
from typing import Any

import flax.linen as nn
import jax

from vq_jax.evaluation import accuracy_score
from vq_jax.evaluation import references
from vq_jax.evaluation.options import EvaluationOptions
from vq_jax.features import extractor_loading
from vq_jax.features import extractors
from vq_jax.metrics import classifier as classifier_lib
from vq_jax.model import Model
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
    size=(size[0], size[1]),
    resizer='none',
  )


def of_run(
  model: Model, cache_dir: str | os.PathLike
) -> extractors.FeatureExtractor:
  """Fits a classifier to the training images of a run, as an extractor.

  Args:
    model: a model whose data has classes.
    cache_dir: the folder that keeps the classifier.

  Returns:
    see `make_extractor`.

  Raises:
    DataError: if the data of the run cannot be read.
    ValueError: if it has no classes.
  """
  info = model.info
  images = references.open_data(info, None, info.data.train_split)
  with accuracy_score.read(images, pathlib.Path(cache_dir) / 'images') as found:
    fitted = classifier_lib.load_or_fit(
      *found, len(images.class_names), cache_dir=cache_dir
    )
  return make_extractor(fitted, info.image_shape)


def load_extractor(
  model: Model, options: EvaluationOptions, run_folder: pathlib.Path
) -> extractors.FeatureExtractor:
  """Loads the feature network of an evaluation of a run.

  Args:
    model: the run.
    options: name the network; 'classifier' is that of `of_run`.
    run_folder: the run folder, which keeps the classifier.

  Raises:
    MissingWeights: see `features.load_extractor`.
    ValueError: see `features.load_extractor` and `of_run`.
  """
  if options.features == 'classifier':
    if options.weights or options.resizer not in (None, 'none'):
      raise ValueError(
        'the classifier of a run takes its images as they are and is fitted '
        'to them; leave weights and resizer out.'
      )
    return of_run(model, run_folder / 'classifier')
  return extractor_loading.load_extractor(
    options.features, weights=options.weights, resizer=options.resizer
  )


def _checksum(params: dict[str, Any]) -> str:
  digest = hashlib.sha256()
  trees.update_digest(digest, params)
  return digest.hexdigest()
