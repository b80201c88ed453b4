"""A small classifier, trained on real images, for metrics of generated images.

`class_agreement` is the fraction of generated images that are classified as the
class they were conditioned on. The features are for
`vq_jax.metrics.frechet_distance`. Neither metric is comparable between
classifiers.
"""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import warnings
import zipfile
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vq_jax.losses import tokens as losses
from vq_jax.metrics import rows as rows_lib
from vq_jax.metrics.conv_classifier import ConvClassifier
from vq_jax.utils import fields
from vq_jax.utils import images as image_lib
from vq_jax.utils import paths
from vq_jax.utils import trees

# Part of the names of cached files; to be increased when network or training
# change.
_VERSION = 1
_BATCH = 500  # images that are read or classified at once


@dataclasses.dataclass(frozen=True)
class Classifier:
  """A trained `ConvClassifier`.

  Attributes:
    network: the module.
    params: its parameters.

  Example:
    >>> import numpy as np
    >>> from vq_jax import metrics
    >>> images = np.zeros((4, 8, 8, 1), np.uint8)
    >>> images[2:] = 255
    >>> classifier = metrics.classifier.fit(
    ...   images, np.array([0, 0, 1, 1]), 2, epochs=1
    ... )
    >>> logits, features = classifier(images)
    >>> logits.shape, features.shape
    ((4, 2), (4, 64))
  """

  network: ConvClassifier
  params: dict

  def __call__(
    self, images: image_lib.Array | rows_lib.Rows, *, batch_size: int = _BATCH
  ) -> tuple[np.ndarray, np.ndarray]:
    """Classifies images.

    Args:
      images: uint8 or float in [0, 1], [B, H, W, C], of the size of the
        training images; floats are clipped.
      batch_size: number of images that are classified at once.

    Returns:
      logits float32 [B, num_classes] and features float32 [B, 64].
    """
    parts = [
      _forward(self.network, self.params, images[i : i + batch_size])
      for i in range(0, len(images), batch_size)
    ]
    logits, features = zip(*parts, strict=True)
    return np.concatenate(logits), np.concatenate(features)


@functools.partial(jax.jit, static_argnums=0)
def _forward(network, params, images):
  images = jnp.clip(image_lib.to_float(images), 0, 1)
  return network.apply({'params': params}, images)


def class_agreement(
  predicted: jax.Array | np.ndarray, labels: jax.Array | np.ndarray
) -> float:
  """Returns the fraction of images whose predicted class is their label.

  Args:
    predicted: logits [B, classes] or classes int [B].
    labels: int [B].

  Raises:
    ValueError: if the shapes do not fit.

  Example:
    >>> import numpy as np
    >>> from vq_jax import metrics
    >>> metrics.class_agreement(np.array([0, 1, 2, 2]), np.array([0, 1, 1, 2]))
    0.75
  """
  predicted, labels = np.asarray(predicted), np.asarray(labels)
  if predicted.ndim == 2:
    predicted = predicted.argmax(axis=-1)
  if predicted.shape != labels.shape:
    raise ValueError(
      'predicted and labels must have the same length; got '
      f'{predicted.shape} and {labels.shape}.'
    )
  return float(np.mean(predicted == labels))


@fields.checked
def fit(
  images: rows_lib.Rows,
  labels: np.ndarray,
  num_classes: fields.PositiveInt,
  *,
  seed: fields.Seed = 0,
  epochs: fields.PositiveInt = 8,
  batch_size: fields.PositiveInt = 64,
  learning_rate: fields.PositiveFloat = 2e-3,
  progress: Callable[[int, int], None] | None = None,
) -> Classifier:
  """Trains a classifier.

  Args:
    images: uint8 or float in [0, 1], [n, H, W, C], H and W at least 8; an
      array, or uint8 in files, of which each step reads its batch.
    labels: int [n], in [0, num_classes).
    num_classes: number of classes.
    seed: seed of initialisation, shuffling and dropout.
    epochs: number of passes over the images.
    batch_size: images per step; an incomplete last batch is dropped.
    learning_rate: peak learning rate.
    progress: called with (finished epochs, epochs) after each epoch.

  Returns:
    the classifier; on one machine equal arguments give equal weights.

  Raises:
    ValueError: if images and labels do not fit.
  """
  labels = np.asarray(labels, np.int32)
  _check(images, labels, num_classes)
  if images.dtype != np.uint8:
    image_lib.check_range(images[:])
  batch_size = min(batch_size, len(images))
  per_epoch = len(images) // batch_size
  network = ConvClassifier(num_classes)
  tx = _optimizer(learning_rate, per_epoch // 2, epochs * per_epoch)
  key = jax.random.key(seed)
  params = network.init(key, jnp.zeros((1, *images.shape[1:])))['params']
  state = (params, tx.init(params), jnp.int32(0))
  order = np.random.default_rng(seed)
  for epoch in range(epochs):
    rows = order.permutation(len(images))[: per_epoch * batch_size]
    for batch in rows.reshape(per_epoch, batch_size):
      state = _step(network, tx, key, state, images[batch], labels[batch])
    if progress is not None:
      progress(epoch + 1, epochs)
  return Classifier(network, jax.device_get(state[0]))


@functools.cache
def _optimizer(learning_rate: float, warmup: int, steps: int):
  """Returns one object for equal settings, so that jit does not recompile."""
  schedule = optax.warmup_cosine_decay_schedule(
    0.0, learning_rate, warmup, max(steps, warmup + 1)
  )
  return optax.adamw(schedule, weight_decay=0.01)


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=3)
def _step(network, tx, key, state, image, label):
  params, opt_state, count = state

  def loss(params):
    logits, _ = network.apply(
      {'params': params},
      image_lib.to_float(image),
      train=True,
      rngs={'dropout': jax.random.fold_in(key, count)},
    )
    return losses.cross_entropy(logits, label, label_smoothing=0.1).mean()

  updates, opt_state = tx.update(jax.grad(loss)(params), opt_state, params)
  return optax.apply_updates(params, updates), opt_state, count + 1


def load_or_fit(
  images: rows_lib.Rows,
  labels: np.ndarray,
  num_classes: int,
  *,
  cache_dir: str | os.PathLike,
  **settings,
) -> Classifier:
  """Loads a classifier from a cache, or trains it and caches its weights.

  The name of the file is a hash of the images, the labels and the settings.

  Args:
    images: see `fit`.
    labels: see `fit`.
    num_classes: see `fit`.
    cache_dir: folder of the files, which is created if needed.
    **settings: the keyword arguments of `fit`.

  Returns:
    the classifier.
  """
  labels = np.asarray(labels, np.int32)
  hashed = {k: v for k, v in settings.items() if k != 'progress'}
  name = _fingerprint(images, labels, [_VERSION, num_classes, hashed])
  path = pathlib.Path(cache_dir) / f'classifier-{name}.npz'
  if path.exists():
    try:
      return _read(path, images, num_classes)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as e:
      warnings.warn(
        f'{path} cannot be read ({e}); the classifier is trained again.',
        stacklevel=2,
      )
  classifier = fit(images, labels, num_classes, **settings)
  _write(path, classifier.params)
  return classifier


def _check(images: rows_lib.Rows, labels: np.ndarray, num_classes: int) -> None:
  if len(images.shape) != 4 or min(images.shape[1:3]) < 8:
    raise ValueError(
      'images must be [n, H, W, C] of at least 8 x 8 pixels; got '
      f'{images.shape}.'
    )
  if labels.shape != images.shape[:1] or not len(labels):
    raise ValueError(
      'images and labels must have the same length; got '
      f'{images.shape} and {labels.shape}.'
    )
  if not 0 <= labels.min() <= labels.max() < num_classes:
    raise ValueError(
      f'labels must be in [0, {num_classes}); got {labels.min()} ... '
      f'{labels.max()}.'
    )


def _fingerprint(images: rows_lib.Rows, labels: np.ndarray, settings) -> str:
  digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
  for array in (images, labels):
    digest.update(f'{array.dtype}{array.shape}'.encode())
    for start in range(0, len(array), _BATCH):
      part = array[start : start + _BATCH]
      digest.update(np.ascontiguousarray(part).data)
  return digest.hexdigest()[:16]


def _read(path: pathlib.Path, images, num_classes: int) -> Classifier:
  with np.load(path) as file:
    loaded = trees.unflatten(dict(file))
  network = ConvClassifier(num_classes)
  shapes = jax.eval_shape(
    network.init, jax.random.key(0), jnp.zeros((1, *images.shape[1:]))
  )
  params = trees.merge_strict(shapes['params'], loaded, source=str(path))
  return Classifier(network, params)


def _write(path: pathlib.Path, params: dict) -> None:
  """Writes the parameters to a file."""
  with paths.replacing(path) as temporary, temporary.open('wb') as file:
    np.savez(file, **trees.flatten(params))
