"""Sets of real images, by the names that users give them."""

import os
import pathlib
from collections.abc import Sequence

from vq_jax import data
from vq_jax.data import tokens as tokens_lib
from vq_jax.data.preprocessing import Preprocess
from vq_jax.evaluation import adm_files
from vq_jax.evaluation import feature_sets
from vq_jax.evaluation import image_sets
from vq_jax.evaluation.options import EvaluationOptions
from vq_jax.inference import ModelInfo


def open_images(
  where: str | os.PathLike,
  split: str = 'train',
  *,
  data_dir: str | os.PathLike | None = None,
  channels: int | None = None,
  preprocess: Sequence[Preprocess] = (),
  limit: int | None = None,
  seed: int = 0,
) -> image_sets.ImageSet:
  """Opens a set of images.

  Args:
    where: a folder of images, an .npz file with images, or a data source; see
      `vq_jax.data.open_source`.
    split: split of a folder or a data source.
    data_dir: folder of the data sets of TFDS.
    channels: 1 or 3 converts the images of folders and data sources.
    preprocess: operations that are applied to the images of folders and data
      sources.
    limit: number of images of a folder or data source, which are a random
      choice; None for all.
    seed: seed of this choice.

  Raises:
    DataError: if there are no such images.
  """
  path = pathlib.Path(where).expanduser()
  source: data.Source
  if path.is_dir():
    source = data.FolderSource(path, split, channels=channels)
  elif path.is_file():
    if path.suffix != '.npz':
      raise data.DataError(
        f'{where} must be a folder of images or an .npz file; it is another '
        'file.'
      )
    return adm_files.SampleBatch(path)
  elif ':' in str(where):
    source = data.require_images(
      data.open_source(str(where), split, data_dir=data_dir, channels=channels)
    )
  else:
    raise data.DataError(
      f'{where} must be a folder of images, an .npz file, or a data set such '
      'as tfds:<name>; there is no such file or folder.'
    )
  return image_sets.SourceImages(source, preprocess, limit=limit, seed=seed)


def open_reference(
  where: str | os.PathLike,
  split: str = 'train',
  *,
  data_dir: str | os.PathLike | None = None,
  info: ModelInfo | None = None,
) -> image_sets.ImageSet | feature_sets.Statistics:
  """Opens a reference set: images, or a file of statistics.

  Args:
    where: see `open_images`; or an .npz file with `mu` and `sigma`.
    split: see `open_images`.
    data_dir: see `open_images`.
    info: facts about a model, whose preprocessing the images pass through.

  Raises:
    DataError: if there is no such set.
  """
  path = pathlib.Path(where).expanduser()
  if path.suffix == '.npz' and path.is_file():
    if adm_files.is_statistics(path) and not adm_files.is_samples(path):
      return adm_files.read_statistics(path)
  return open_images(
    where,
    split,
    data_dir=data_dir,
    channels=None if info is None else info.image_shape[-1],
    preprocess=() if info is None else info.preprocess,
  )


def open_data(
  info: ModelInfo,
  source: str | None,
  split: str,
  *,
  data_dir: str | os.PathLike | None = None,
  limit: int | None = None,
  seed: int = 0,
) -> image_sets.ImageSet:
  """Opens real images as a model sees them.

  Args:
    info: facts about the model.
    source: see `open_images`; None for the data that the model was trained on,
      or from which the tokens were made that it was trained on.
    split: the split.
    data_dir: folder of the data sets of TFDS; by default that of the run.
    limit: see `open_images`.
    seed: see `open_images`.

  Raises:
    DataError: if there are no such images, or their shape is not that of the
      model after the preprocessing of the run's evaluation.
  """
  if source is None:
    source, split = _find_source(info, split)
  images = open_images(
    source,
    split,
    data_dir=data_dir or info.data.data_dir,
    channels=info.image_shape[-1],
    preprocess=info.preprocess,
    limit=limit,
    seed=seed,
  )
  if tuple(images.image_shape) != tuple(info.image_shape):
    raise data.DataError(
      f'the model has images {list(info.image_shape)}; {images.name} has '
      f'{list(images.image_shape)} after the preprocessing of the run. Give '
      'other images.'
    )
  return images


def open_held_out(
  info: ModelInfo, options: EvaluationOptions, split: str, used: str
) -> tuple[image_sets.ImageSet | None, str]:
  """Opens other images of a run's own data, for the floor.

  Args:
    info: facts about the model.
    options: the options.
    split: the split of these images.
    used: the split whose images are in use.

  Returns:
    at most `options.num` images, or None; and why there are none.
  """
  if options.data is not None or split == used:
    return None, 'the data has no other split'
  try:
    images = open_data(
      info,
      None,
      split,
      data_dir=options.data_dir,
      limit=options.num,
      seed=options.seed,
    )
  except data.DataError as error:
    return None, f'the data of the run cannot be read: {error}'
  return images, ''


def _find_source(info: ModelInfo, split: str) -> tuple[str, str]:
  """Returns the source and the split of the images that a run was made of."""
  kind, _, name = info.data.source.partition(':')
  if kind == 'tokens':
    record = tokens_lib.read_record(name)
    return record['source'], record['splits'].get(split, split)
  if not name:
    raise data.DataError(
      'this run does not name the data that it was trained on; give real '
      'images with --data or --reference.'
    )
  return info.data.source, split
