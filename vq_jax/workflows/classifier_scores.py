"""Scores of generated images for rejection sampling, by a classifier."""

import os
from collections.abc import Callable

import jax
import numpy as np

from vq_jax import data
from vq_jax.metrics import classifier as classifier_lib
from vq_jax.model import Model


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
  batches = data.open_eval_batches(
    model.info.data.source,
    model.info.data.train_split,
    data_dir=model.info.data.data_dir,
    channels=model.info.image_shape[-1],
    preprocess=model.info.preprocess,
  )
  classifier = classifier_lib.load_or_fit(
    *batches.to_arrays(), batches.source.num_classes, cache_dir=cache_dir
  )

  def score(images, labels):
    logits, _ = classifier(images)
    log_p = np.asarray(jax.nn.log_softmax(logits))
    return log_p[np.arange(len(labels)), labels]

  return score
