"""Scores of generated images for rejection sampling, by a classifier."""

import os
from collections.abc import Callable

import jax
import numpy as np

from vq_jax import data
from vq_jax.metrics import classifier as classifier_lib
from vq_jax.model import Model


def fit_classifier(
  model: Model, cache_dir: str | os.PathLike
) -> classifier_lib.Classifier:
  """Fits a classifier to the training images of a run.

  Args:
    model: a model whose data has classes.
    cache_dir: the folder that keeps the classifier.

  Raises:
    DataError: if the data of the run cannot be read, or is tokens.
    ValueError: if it has no classes.
  """
  batches = data.open_eval_batches(
    model.info.data.source,
    model.info.data.train_split,
    data_dir=model.info.data.data_dir,
    channels=model.info.image_shape[-1],
    preprocess=model.info.preprocess,
  )
  classes = batches.source.num_classes
  if classes < 2:
    raise ValueError(
      f'a classifier needs data with at least two classes; '
      f'{batches.source.name} has {classes}.'
    )
  return classifier_lib.load_or_fit(
    *batches.to_arrays(), classes, cache_dir=cache_dir
  )


def fit_scores(
  model: Model, cache_dir: str | os.PathLike
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
  """Fits a classifier to the data of a run, and returns its scores.

  Args:
    model: a prior with classes.
    cache_dir: the folder that keeps the classifier.

  Returns:
    (images [B, H, W, C], labels int [B]) -> log-probabilities of the labels,
    float [B]; see `samplers.rejection_sample`.

  Raises:
    DataError: if the data of the run cannot be read, or is tokens.
  """
  classifier = fit_classifier(model, cache_dir)

  def score(images, labels):
    logits, _ = classifier(images)
    log_p = np.asarray(jax.nn.log_softmax(logits))
    return log_p[np.arange(len(labels)), labels]

  return score
