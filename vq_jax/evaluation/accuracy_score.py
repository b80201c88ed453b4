"""The classification accuracy score of generated images."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from vq_jax import data
from vq_jax import samplers
from vq_jax.inference import labels as labels_lib
from vq_jax.metrics import classifier as classifier_lib
from vq_jax.model import Model
from vq_jax.utils import devices
from vq_jax.utils import fields
from vq_jax.utils import images as image_lib

Labelled = tuple[np.ndarray, np.ndarray]
Samplers = samplers.Sampler | Sequence[samplers.Sampler] | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class AccuracyScore:
  """Accuracies on real held-out images.

  Attributes:
    generated: that of a classifier that was trained on generated images.
    real: that of one that was trained on as many real images, the reference.
    num: number of generated images.
    num_real: number of real training images, fewer than `num` if there are not
      enough.
    num_held_out: number of held-out images.
  """

  generated: float
  real: float
  num: int
  num_real: int
  num_held_out: int


@fields.checked
def classification_accuracy_score(
  generated: Labelled,
  held_out: Labelled,
  num_classes: fields.PositiveInt,
  *,
  seed: fields.Seed = 0,
  epochs: fields.PositiveInt = 8,
) -> float:
  """Trains a classifier on generated images, and tests it on real ones.

  The score (https://arxiv.org/abs/1905.10887) is low if a class is missing, has
  little variety, or does not show what its real images show. The paper trains a
  ResNet-50; this is the small `metrics.classifier.ConvClassifier`, so only
  scores of this function can be compared.

  Args:
    generated: images uint8 [n, H, W, C] and the labels that they were
      generated for, int [n].
    held_out: real images uint8 [m, H, W, C] and their labels, int [m].
    num_classes: number of classes.
    seed: seed of the training.
    epochs: number of passes over the generated images.

  Returns:
    the fraction of the held-out images that is classified correctly.

  Raises:
    ValueError: if images and labels do not fit, or sizes differ.

  Example:
    >>> import numpy as np
    >>> from vq_jax import evaluation
    >>> images = np.zeros((64, 8, 8, 1), np.uint8)
    >>> images[::2] = 255
    >>> labels = np.arange(64) % 2
    >>> evaluation.classification_accuracy_score(
    ...   (images, labels), (images[:2], labels[:2]), 2, epochs=40
    ... )
    1.0
  """
  if generated[0].shape[1:] != held_out[0].shape[1:]:
    raise ValueError(
      'generated and held-out images must have one size; got '
      f'{generated[0].shape[1:]} and {held_out[0].shape[1:]}.'
    )
  fitted = classifier_lib.fit(*generated, num_classes, seed=seed, epochs=epochs)
  logits, _ = fitted(held_out[0])
  return classifier_lib.class_agreement(logits, held_out[1])


def of_run(
  model: Model,
  *,
  num: int,
  seed: int = 0,
  sampler: Samplers = None,
  batch_size: int = 100,
) -> AccuracyScore:
  """Computes the classification accuracy score of a prior with classes.

  Image i has the class i modulo the number of classes. The images of one call
  are in memory together.

  Args:
    model: the prior.
    num: number of images to generate.
    seed: seed of the samples and of the training.
    sampler: see `Model.generate`.
    batch_size: number of images that are generated at once.

  Returns:
    the score, and that of as many real training images.

  Raises:
    ValueError: if the model has no classes.
    DataError: if the data of the run cannot be read.
  """
  labels, _ = labels_lib.for_generation(None, num, model.pipeline())
  if labels is None:
    raise ValueError(
      'a classification accuracy score needs a prior with classes; this model '
      'has none.'
    )
  held_out = _read(model, model.info.data.eval_split)
  real = _subset(_read(model, model.info.data.train_split), num, seed)
  generated = _generate(model, num, seed, sampler, batch_size)
  found, reference = (
    classification_accuracy_score(
      images, held_out, len(model.info.class_names), seed=seed
    )
    for images in ((generated, labels), real)
  )
  return AccuracyScore(
    generated=found,
    real=reference,
    num=num,
    num_real=len(real[1]),
    num_held_out=len(held_out[1]),
  )


def _generate(
  model: Model, num: int, seed: int, sampler: Samplers, batch_size: int
) -> np.ndarray:
  """Generates images on all processes, uint8 [num, H, W, C] on each."""
  batches = model.generate_batches(
    seed,
    num=num,
    sampler=sampler,
    batch_size=batch_size,
    sharding=devices.batch_sharding(),
    rows=devices.split_over_processes(num),
  )
  images = np.concatenate([image_lib.to_uint8(batch) for batch in batches])
  return devices.gather_from_processes(images, num)


def _read(model: Model, split: str) -> Labelled:
  """Reads the images of a split of the data of a run, and their labels."""
  batches = data.open_eval_batches(
    model.info.data.source,
    split,
    data_dir=model.info.data.data_dir,
    channels=model.info.image_shape[-1],
    preprocess=model.info.preprocess,
  )
  return batches.to_arrays()


def _subset(labelled: Labelled, num: int, seed: int) -> Labelled:
  """Takes random examples without replacement, or all if they are fewer."""
  images, labels = labelled
  rows = np.random.default_rng(seed).permutation(len(images))[:num]
  return images[rows], labels[rows]
