"""How much an encoder learned: probes of its frozen features."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vq_jax import data
from vq_jax.config import registry
from vq_jax.metrics import probe as probe_lib
from vq_jax.model import Model
from vq_jax.utils import fields


def pooled(features: jax.Array, cells: int) -> jax.Array:
  """Averages features [B, h, w, D] over at most `cells` x `cells` parts.

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
  """Returns what a model's encoder sees in images, and their labels.

  Args:
    model: any; of a prior, its autoencoder.
    batches: of images.
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


@functools.partial(jax.jit, static_argnums=(0, 1))
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
    model: any; of a prior, its autoencoder.
    source: see `vq_jax.data.open_source`.
    train_split: probes are fitted to it.
    test_split: accuracies are those on it.
    data_dir: where TFDS keeps its data sets.
    shots: examples of each class in few-shot probes.
    draws: of each number of shots, at most 10,000.
    seed: of the draws.
    cells: features are averaged over at most so many parts along a side.
    penalty: of the regression; see `vq_jax.metrics.probe.probe_accuracy`.
    limit: at most so many images of each split.

  Returns:
    `linear`: accuracy with all training images; `shots`: k -> mean and standard
    deviation; `features`: their number.

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


def _batches(model, source, split, data_dir, limit) -> data.EvalBatches:
  """Opens labelled images as the model's evaluation sees its own."""
  # The config of a prior that was trained on tokens has no preprocessing.
  card = model.autoencoder_config['card'].get('data', {})
  batches = data.open_eval_batches(
    source,
    split,
    data_dir=data_dir,
    channels=model.autoencoder_config['data']['image_shape'][-1],
    preprocess=registry.preprocess(card.get('eval_preprocess', ())),
    limit=limit,
  )
  if batches.source.num_classes < 2:
    raise ValueError(
      f'a probe needs labelled images; {batches.source.name} has none.'
    )
  return batches
