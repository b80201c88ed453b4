"""Comparison of two sets of images, without a model."""

import os
import pathlib

from vq_jax.evaluation import choosing
from vq_jax.evaluation import core
from vq_jax.evaluation import metric_table
from vq_jax.evaluation import records
from vq_jax.evaluation import references
from vq_jax.evaluation import saving
from vq_jax.evaluation.options import EvaluationOptions
from vq_jax.features import FeatureExtractor


def compare_image_sets(
  generated: str | os.PathLike,
  reference: str | os.PathLike,
  work_dir: str | os.PathLike,
  options: EvaluationOptions | None = None,
  *,
  extractor: FeatureExtractor | None = None,
  save: saving.Save | None = None,
) -> records.Record:
  """Compares two sets of images, all of them.

  Args:
    generated: a folder of images, an .npz file with images (`arr_0`), or a data
      source; see `vq_jax.data.open_source`.
    reference: the same, or an .npz file with statistics (`mu`, `sigma`).
    work_dir: the folder for files of this evaluation; see
      `evaluate_generation`.
    options: the options; `num`, `data` and `reference` are not used.
    extractor: the main feature network, in place of `options.features`.
    save: files to write besides.

  Returns:
    the record of all numbers. Its floor compares two halves of the reference.

  Raises:
    ValueError: if the images or the metrics do not fit.
    DataError: if images cannot be read.
  """
  options = options or EvaluationOptions()
  split = options.split or 'train'
  sets = core.Sets(
    images=references.open_images(generated, split, data_dir=options.data_dir),
    reference=references.open_reference(
      reference, split, data_dir=options.data_dir
    ),
    no_held_out=f'{reference} has no images',
  )
  chosen = choosing.choose_metrics(
    options, metric_table.METRICS, sets.images, sets.reference, extractor
  )
  return core.evaluate(
    'comparison', sets, chosen, options, pathlib.Path(work_dir), save=save
  )
