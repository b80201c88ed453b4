"""The classification accuracy score of generated images.

Unlike other metrics it is computed from images and not from features. Sets of
more than 1 GiB stay in files, from which each step of the training reads its
batch, so memory does not grow with the number of images.
"""

import contextlib
import dataclasses
import hashlib
import math
import pathlib
from collections.abc import Iterator

import numpy as np

from vq_jax.evaluation import core
from vq_jax.evaluation import feature_sets
from vq_jax.evaluation import image_sets
from vq_jax.evaluation import passes
from vq_jax.evaluation import records
from vq_jax.metrics import classifier as classifier_lib
from vq_jax.metrics import rows as rows_lib
from vq_jax.utils import fields

NAME = 'cas'
Labelled = tuple[rows_lib.Rows, np.ndarray]
_BATCH = 200  # images that are read at once
_IN_MEMORY = 2**30  # bytes of images that are read into memory


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
    generated: images uint8 [n, H, W, C], in memory or in files, and the labels
      that they were generated for, int [n].
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


def compare(
  generated: Labelled,
  real: Labelled,
  held_out: Labelled,
  num_classes: int,
  *,
  seed: int = 0,
) -> AccuracyScore:
  """Computes the score of generated images, and that of real ones beside it.

  Args:
    generated: see `classification_accuracy_score`.
    real: real training images and their labels.
    held_out: see `classification_accuracy_score`.
    num_classes: number of classes.
    seed: seed of both trainings.

  Returns:
    both scores.

  Raises:
    ValueError: see `classification_accuracy_score`.
  """
  found, reference = (
    classification_accuracy_score(images, held_out, num_classes, seed=seed)
    for images in (generated, real)
  )
  return AccuracyScore(
    generated=found,
    real=reference,
    num=len(generated[1]),
    num_real=len(real[1]),
    num_held_out=len(held_out[1]),
  )


@contextlib.contextmanager
def read(images: image_sets.ImageSet, root: pathlib.Path) -> Iterator[Labelled]:
  """Reads all images of a set, and their labels.

  Args:
    images: the images.
    root: the folder for the files of images that are too many for the memory;
      they are removed at the end, unless there is an error.

  Yields:
    the images and their labels.

  Raises:
    ValueError: if they have no classes.
  """
  if len(images.class_names) < 2:
    raise ValueError(
      f'a classifier needs images of at least two classes; {images.name} has '
      f'{len(images.class_names)}.'
    )
  if len(images) * math.prod(images.image_shape) <= _IN_MEMORY:
    batches = list(images.batches(range(len(images)), _BATCH))
    found, labels = (
      np.concatenate([batch[name] for batch in batches])
      for name in ('image', 'label')
    )
    yield found, labels
    return
  pass_ = passes.Pass(
    extractors={}, arrays=frozenset(['image', 'label']), batch_size=_BATCH
  )
  stored = core.read_features(images, pass_, root)
  yield of_stored(stored)
  stored.remove()


def of_stored(stored: feature_sets.StoredFeatures) -> Labelled:
  """Returns the arrays `image`, in memory if it is small, and `label`."""
  images = stored.rows('image')
  if math.prod(images.shape) <= _IN_MEMORY:
    images = images[:]
  return images, stored.rows('label')[:]


class Scorer:
  """Scores the images of an evaluation with the real images of a run."""

  def __init__(
    self, train: image_sets.ImageSet, held_out: image_sets.ImageSet, seed: int
  ):
    """Takes real images for training and for tests.

    Args:
      train: as many training images as are generated.
      held_out: held-out images.
      seed: seed of the trainings.
    """
    self._train, self._held_out, self._seed = train, held_out, seed

  def __call__(
    self, images: feature_sets.StoredFeatures, root: pathlib.Path
  ) -> records.Result:
    """Computes the score of images with the arrays `image` and `label`.

    Args:
      images: the images.
      root: see `read`.
    """
    with (
      read(self._held_out, root) as held_out,
      read(self._train, root) as train,
    ):
      found = compare(
        of_stored(images),
        train,
        held_out,
        len(self._held_out.class_names),
        seed=self._seed,
      )
      checksum = hashlib.sha256()
      for start in range(0, len(held_out[0]), _BATCH):
        part = held_out[0][start : start + _BATCH]
        checksum.update(image_sets.digests(part).tobytes())
    return records.Result(
      metric=NAME,
      value=found.generated,
      range=(0.0, 1.0),
      samples=found.num,
      reference={
        'name': self._held_out.name,
        'checksum': checksum.hexdigest(),
        'samples': found.num_held_out,
      },
      floor=found.real,
      floor_samples=found.num_real,
      floor_note=f'for {NAME}, a classifier that was trained on '
      f'{found.num_real} images of {self._train.name}',
    )
