"""Evaluation of the reconstructions of an autoencoder."""

import os
import pathlib
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from vq_jax import losses
from vq_jax import metrics as metrics_lib
from vq_jax.evaluation import choosing
from vq_jax.evaluation import core
from vq_jax.evaluation import feature_sets
from vq_jax.evaluation import image_metrics
from vq_jax.evaluation import image_sets
from vq_jax.evaluation import metric_table
from vq_jax.evaluation import records
from vq_jax.evaluation import references
from vq_jax.evaluation import saving
from vq_jax.evaluation.generation import fingerprint
from vq_jax.evaluation.options import EvaluationOptions
from vq_jax.features import FeatureExtractor
from vq_jax.inference import codec
from vq_jax.model import Model
from vq_jax.utils import compilation
from vq_jax.utils import devices
from vq_jax.utils import images as images_lib

_LPIPS = 'vgg16'


class Reconstructions(image_sets.ImageSet):
  """The reconstructions of images, with their distances and their tokens."""

  def __init__(
    self,
    model: Model,
    originals: image_sets.ImageSet,
    lpips: tuple[losses.LPIPS, Mapping[str, Any]] | None = None,
  ):
    """Takes an autoencoder, the images, and LPIPS with its variables."""
    self.name = f'reconstructions of {originals.name}'
    self.image_shape = originals.image_shape
    self._model, self._originals, self._lpips = model, originals, lpips
    self._fingerprint = fingerprint(model)
    self._sharding = devices.batch_sharding()
    self._distances = jax.jit(metrics_lib.compare_images)
    self._perceptual = None
    if lpips is not None:
      self._perceptual = compilation.jit(lpips[0].apply)

  def __len__(self) -> int:
    """Returns the number of images."""
    return len(self._originals)

  def describe(self) -> dict[str, Any]:
    """Returns what identifies the images."""
    return {
      'model': self._fingerprint,
      'originals': self._originals.describe(),
    }

  def batches(self, rows: range, batch_size: int) -> Iterator[image_sets.Batch]:
    """Reads images and reconstructs them; see `ImageSet`.

    Yields:
      `image`, the reconstruction; `mse`, `psnr_per_image`, `ssim` and `lpips`
      float32 [B]; `tokens`, or `tokens_0`, ... int32 [B, h, w, ...].
    """
    size = devices.round_up(batch_size, self._sharding)
    for batch in self._originals.batches(rows, batch_size):
      image = batch['image']
      if not len(image):
        continue
      filled = image[np.minimum(np.arange(size), len(image) - 1)]
      if self._sharding is not None:
        filled = jax.device_put(filled, self._sharding)
      found = self._reconstruct(filled)
      yield {name: np.asarray(x)[: len(image)] for name, x in found.items()}

  def _reconstruct(self, image) -> dict[str, jax.Array | np.ndarray]:
    """Returns the arrays of a full batch."""
    model = self._model
    variables = model.variables['autoencoder']
    found: dict[str, Any] = {}
    if model.autoencoder.token_grids:
      encoded = codec.encode_tokens(model.autoencoder, variables, image)
      decoded = codec.decode_tokens(model.autoencoder, variables, encoded)
      parts = encoded if isinstance(encoded, tuple) else (encoded,)
      found = {
        f'tokens_{i}' if len(parts) > 1 else 'tokens': part
        for i, part in enumerate(parts)
      }
    else:
      decoded = codec.reconstruct(model.autoencoder, variables, image)
    original = images_lib.to_float(image)
    found |= self._distances(original, decoded)
    if self._lpips is not None and self._perceptual is not None:
      found['lpips'] = self._perceptual(self._lpips[1], original, decoded)
    return {**found, 'image': images_lib.to_uint8(decoded)}


def evaluate_reconstruction(
  model: Model,
  work_dir: str | os.PathLike,
  options: EvaluationOptions | None = None,
  *,
  extractor: FeatureExtractor | None = None,
  save: saving.Save | None = None,
) -> records.Record:
  """Compares images with their reconstructions, one by one and as sets.

  The reference set of the Frechet distance is the original images; its floor
  compares as many images of the training split with them.

  Args:
    model: an autoencoder; of a prior, its autoencoder is evaluated.
    work_dir: see `evaluate_generation`.
    options: the options; the defaults if None.
    extractor: the main feature network, in place of `options.features`.
    save: files to write besides.

  Returns:
    the record of all numbers.

  Raises:
    ValueError: if the images or the metrics do not fit.
    DataError: if the images cannot be read.
  """
  options, info = options or EvaluationOptions(), model.info
  split = options.split or info.data.eval_split
  originals = references.open_data(
    info,
    options.data,
    split,
    data_dir=options.data_dir,
    limit=options.num,
    seed=options.seed,
  )
  reference: image_sets.ImageSet | feature_sets.Statistics = originals
  if options.reference is not None:
    reference = references.open_reference(
      options.reference, split, data_dir=options.data_dir, info=info
    )
  lpips, missing = _load_lpips(options, originals.image_shape)
  images = Reconstructions(model, originals, lpips)
  chosen = choosing.choose_metrics(
    options, _metrics(model), images, reference, extractor, missing
  )
  held_out, why = references.open_held_out(
    info, options, info.data.train_split, split
  )
  sets = core.Sets(
    images=images, reference=reference, held_out=held_out, no_held_out=why
  )
  work_dir = pathlib.Path(work_dir)
  return core.evaluate(
    'reconstruction', sets, chosen, options, work_dir, save=save
  )


def _metrics(model: Model) -> dict[str, metric_table.Metric]:
  """Returns all metrics of reconstructions of an autoencoder."""
  found = {**image_metrics.METRICS, **metric_table.METRICS}
  grids = model.autoencoder.token_grids
  if grids:
    found['codebook'] = image_metrics.codebook(grids)
  return found


def _load_lpips(
  options: EvaluationOptions, image_shape: tuple[int, int, int]
) -> tuple[tuple[losses.LPIPS, Mapping[str, Any]] | None, dict[str, str]]:
  """Loads LPIPS, or returns why it cannot be computed."""
  if options.metrics is not None and 'lpips' not in options.metrics:
    return None, {}
  try:
    # The size first: weights would not help images that are too small.
    module, shapes = losses.load_lpips(_LPIPS, abstract=True)
    image = jax.ShapeDtypeStruct((1, *image_shape), np.float32)
    jax.eval_shape(module.apply, shapes, image, image)
    return losses.load_lpips(_LPIPS), {}
  except ValueError as error:  # images that are too small, and MissingWeights
    return None, {'lpips': str(error)}
