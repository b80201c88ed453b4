"""Linear probes of the frozen features of an encoder."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vq_jax import data
from vq_jax.metrics import probe as probe_lib
from vq_jax.model import Model
from vq_jax.utils import compilation
from vq_jax.utils import fields


def pooled(features: jax.Array, cells: int) -> jax.Array:
  """Averages features over at most `cells` x `cells` parts of the image.

  Args:
    features: [B, h, w, D].
    cells: the largest number of parts along a side.

  Returns:
    float32 [B, min(h, cells) * min(w, cells) * D].
  """
  b, h, w, _ = features.shape
  rows, columns = (_averages(n, min(n, cells)) for n in (h, w))
  x = jnp.einsum(
    'bhwd,ih,jw->bijd', features.astype(jnp.float32), rows, columns
  )
  return x.reshape(b, -1)


def _averages(size: int, parts: int) -> np.ndarray:
  """Returns the matrix [parts, size] that averages over even parts."""
  matrix = np.zeros((parts, size), np.float32)
  for i in range(parts):
    start, stop = i * size // parts, -(-(i + 1) * size // parts)
    matrix[i, start:stop] = 1 / (stop - start)
  return matrix


def encoder_features(
  model: Model, batches: data.EvalBatches, cells: int = 4
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the features of an encoder, and the labels of the images.

  Args:
    model: any model; of a prior, its autoencoder is used.
    batches: batches of images.
    cells: see `pooled`.

  Returns:
    float32 [B, N] and int32 [B].
  """
  apply = functools.partial(
    _features, model.autoencoder, cells, model.variables['autoencoder']
  )
  features, labels = [], []
  for batch in batches:
    features.append(np.asarray(apply(batch['image']))[batch['mask']])
    labels.append(batch['label'][batch['mask']])
  return np.concatenate(features), np.concatenate(labels)


@functools.partial(compilation.jit, static_argnums=(0, 1))
def _features(autoencoder, cells, variables, image):
  features = autoencoder.apply(variables, image, method='features')
  return pooled(features, cells)


@fields.checked
def probe(
  model: Model,
  source: str,
  *,
  train_split: str = 'train',
  test_split: str = 'test',
  data_dir: str | None = None,
  shots: Sequence[fields.PositiveInt] = (1, 5, 10, 100),
  draws: probe_lib.Draws = 10,
  seed: fields.Seed = 0,
  cells: fields.PositiveInt = 4,
  penalty: fields.NonNegativeFloat = 0.1,
  limit: fields.PositiveInt | None = None,
) -> dict[str, Any]:
  """Probes a model's encoder on a labelled data set.

  Args:
    model: any model; of a prior, its autoencoder is used.
    source: the data set; see `vq_jax.data.open_source`.
    train_split: the split that the probes are fitted to.
    test_split: the split on which the accuracies are measured.
    data_dir: the folder of the data sets of TFDS.
    shots: the numbers of examples per class of few-shot probes.
    draws: the number of random samples for each number of shots.
    seed: the seed of these samples.
    cells: features are averaged over at most this many parts along a side.
    penalty: the penalty; see `vq_jax.metrics.probe.probe_accuracy`.
    limit: the largest number of images of each split; None is no limit.

  Returns:
    `linear`: the accuracy with all training images; `shots`: k -> mean and
    standard deviation of the accuracy; `features`: the number of features.

  Raises:
    ValueError: if the data has no classes, or too few examples of one.
  """
  train, test = (
    encoder_features(
      model, _batches(model, source, split, data_dir, limit), cells
    )
    for split in (train_split, test_split)
  )
  return {
    'features': train[0].shape[1],
    'linear': probe_lib.probe_accuracy(train, test, penalty=penalty),
    'shots': probe_lib.few_shot_accuracy(
      train, test, shots=shots, draws=draws, seed=seed, penalty=penalty
    ),
  }


def _batches(
  model: Model,
  source: str,
  split: str,
  data_dir: str | None,
  limit: int | None,
) -> data.EvalBatches:
  """Opens labelled images with the preprocessing of the run's evaluation."""
  batches = data.open_eval_batches(
    source,
    split,
    data_dir=data_dir,
    channels=model.info.image_shape[-1],
    preprocess=model.info.preprocess,
    limit=limit,
  )
  if batches.source.num_classes < 2:
    raise ValueError(
      f'a probe needs labelled images; {batches.source.name} has none.'
    )
  return batches
