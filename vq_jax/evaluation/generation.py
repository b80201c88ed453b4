"""Evaluation of the images that a prior or a VAE generates."""

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from vq_jax import samplers
from vq_jax.evaluation import accuracy_score
from vq_jax.evaluation import choosing
from vq_jax.evaluation import core
from vq_jax.evaluation import image_sets
from vq_jax.evaluation import metric_table
from vq_jax.evaluation import records
from vq_jax.evaluation import references
from vq_jax.evaluation import saving
from vq_jax.evaluation.options import EvaluationOptions
from vq_jax.features import FeatureExtractor
from vq_jax.inference import latents
from vq_jax.model import Model
from vq_jax.model import Samplers
from vq_jax.utils import devices
from vq_jax.utils import images as images_lib
from vq_jax.utils import trees

_ARRAYS = ('image', 'label')


class GeneratedImages(image_sets.ImageSet):
  """Images that a model generates; image i depends on (seed, i) alone.

  The class of image i of a prior with classes is i modulo their number.
  """

  def __init__(
    self, model: Model, count: int, seed: int, sampler: Samplers = None
  ):
    """Takes a model with a prior, or a VAE.

    Raises:
      ValueError: if the model can generate no images, or the samplers do not
        fit it.
    """
    self.name = f'{count} generated images'
    self.image_shape = model.info.image_shape
    self._model, self._count, self._seed = model, count, seed
    self._sampler = sampler
    self._fingerprint = fingerprint(model)
    self.sampling: list[dict[str, Any]] = []
    if model.prior is not None:
      pipeline = model.pipeline(sampler)
      self.sampling = [describe_sampler(x.sampler) for x in pipeline.levels]
      if pipeline.num_classes:
        self.class_names = model.info.class_names

  def __len__(self) -> int:
    """Returns the number of images."""
    return self._count

  def describe(self) -> dict[str, Any]:
    """Returns what identifies the images."""
    return {
      'model': self._fingerprint,
      'seed': self._seed,
      'count': self._count,
      'sampling': self.sampling,
    }

  def batches(self, rows: range, batch_size: int) -> Iterator[image_sets.Batch]:
    """Generates `image` and, with classes, `label`; see `ImageSet`."""
    start = rows.start
    for images in self._sample(rows, batch_size):
      batch = {'image': images_lib.to_uint8(images)}
      if self.class_names:
        numbers = np.arange(start, start + len(images))
        batch['label'] = (numbers % len(self.class_names)).astype(np.int32)
      start += len(images)
      yield batch

  def _sample(self, rows: range, batch_size: int) -> Iterator[jax.Array]:
    if self._model.prior is not None:
      return self._model.generate_batches(
        self._seed,
        num=self._count,
        sampler=self._sampler,
        batch_size=batch_size,
        sharding=devices.batch_sharding(),
        rows=rows,
      )
    return self._decode_noise(rows, batch_size)

  def _decode_noise(self, rows: range, batch_size: int) -> Iterator[jax.Array]:
    """Decodes samples of the prior N(0, I) of a VAE."""
    model, key = self._model, samplers.make_key(self._seed)
    shape = latents.latent_shape(model.autoencoder, self.image_shape)
    for start in range(rows.start, rows.stop, batch_size):
      index = np.arange(start, start + batch_size)
      keys = samplers.example_keys(key, index)
      z = jax.vmap(lambda key: jax.random.normal(key, shape))(keys)
      yield model.decode(z)[: rows.stop - start]


def evaluate_generation(
  model: Model,
  work_dir: str | os.PathLike,
  options: EvaluationOptions | None = None,
  *,
  sampler: Samplers = None,
  extractor: FeatureExtractor | None = None,
  save: saving.Save | None = None,
) -> records.Record:
  """Generates images with a model, and compares them with real ones.

  All devices and processes take part. If it is stopped, the next call with the
  same arguments resumes it, with the same result.

  Args:
    model: a model with a prior, or a VAE.
    work_dir: the folder for files of this evaluation, which are removed at its
      end, and for the features of reference sets, which are kept for the next.
    options: the options; the defaults if None.
    sampler: the samplers; see `vq_jax.Model.generate`.
    extractor: the main feature network, in place of `options.features`.
    save: files to write besides.

  Returns:
    the record of all numbers.

  Raises:
    ValueError: if the images, the metrics or the samplers do not fit.
    DataError: if real images cannot be read.
  """
  options = options or EvaluationOptions()
  images = GeneratedImages(model, options.num, options.seed, sampler)
  scorer = _make_scorer(model, options)
  reference, held_out, why = _open_real_images(model, options)
  possible, others = metric_table.METRICS, (accuracy_score.NAME,)
  chosen = choosing.choose_metrics(
    options, possible, images, reference, extractor, others=others
  )
  sets = core.Sets(
    images=images, reference=reference, held_out=held_out, no_held_out=why
  )
  return core.evaluate(
    'generation',
    sets,
    chosen,
    options,
    pathlib.Path(work_dir),
    sampling=images.sampling,
    keep=('image', 'label') if scorer is not None else (),
    scorer=scorer,
    save=save,
  )


def _make_scorer(
  model: Model, options: EvaluationOptions
) -> accuracy_score.Scorer | None:
  """Opens the real images of the classification accuracy score.

  Returns:
    None, if the score is not wanted.

  Raises:
    ValueError: if the model has no classes, or not those of its data.
    DataError: if the data of the run cannot be read.
  """
  if accuracy_score.NAME not in (options.metrics or ()):
    return None
  info = model.info
  if model.prior is None or not model.pipeline().num_classes:
    raise ValueError(
      f'{accuracy_score.NAME} needs a prior with classes; this run has none.'
    )
  if options.data is not None:
    raise ValueError(
      f'{accuracy_score.NAME} trains on the data of the run and tests on its '
      f'split {info.data.eval_split!r}; leave --data out.'
    )
  train, held_out = (
    references.open_data(
      info,
      None,
      split,
      data_dir=options.data_dir,
      limit=limit,
      seed=options.seed,
    )
    for split, limit in (
      (info.data.train_split, options.num),
      (info.data.eval_split, None),
    )
  )
  return accuracy_score.Scorer(train, held_out, options.seed)


def _open_real_images(
  model: Model, options: EvaluationOptions
) -> tuple[choosing.Reference, image_sets.ImageSet | None, str]:
  """Opens the reference set, and held-out images for the floor.

  Returns:
    the reference set; the held-out images, or None; and why there are none.
  """
  info, split = model.info, options.split or model.info.data.train_split
  return _open_reference(model, options), *references.open_held_out(
    info, options, info.data.eval_split, split
  )


def _open_reference(
  model: Model, options: EvaluationOptions
) -> choosing.Reference:
  """Opens the reference set."""
  info, split = model.info, options.split or model.info.data.train_split
  if options.reference is not None:
    return references.open_reference(
      options.reference, split, data_dir=options.data_dir, info=info
    )
  return references.open_data(
    info, options.data, split, data_dir=options.data_dir
  )


def describe_reference(
  model: Model, options: EvaluationOptions
) -> dict[str, Any]:
  """Returns what identifies the reference set of an evaluation, as JSON."""
  reference = _open_reference(model, options)
  if isinstance(reference, image_sets.ImageSet):
    return reference.describe()
  return {'checksum': reference.checksum}


def describe_sampler(sampler: samplers.Sampler) -> dict[str, Any]:
  """Returns the class and the options of a sampler, as JSON."""
  options = {
    field.name: _plain(getattr(sampler, field.name))
    for field in dataclasses.fields(sampler)
  }
  return {'sampler': type(sampler).__name__, **options}


def _plain(value: Any) -> Any:
  """Returns a JSON value for an option of a sampler."""
  if value is None or isinstance(value, bool | int | float | str):
    return value
  return getattr(value, '__name__', None) or repr(value)


def fingerprint(model: Model) -> str:
  """Returns the SHA-256 of the configs and the variables of a model."""
  digest = hashlib.sha256()
  level: Model | None = model
  while level is not None:
    configs = (level.run_config, level.autoencoder_run_config)
    digest.update(json.dumps(configs, sort_keys=True, default=str).encode())
    trees.update_digest(digest, level.variables)
    level = level.parent
  return digest.hexdigest()
