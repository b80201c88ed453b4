"""Files of an evaluation for other programs."""

import dataclasses
import os

import jax

from vq_jax.evaluation import adm_files
from vq_jax.evaluation import choosing
from vq_jax.evaluation import feature_sets
from vq_jax.evaluation import image_sets
from vq_jax.evaluation import metric_table
from vq_jax.evaluation import passes
from vq_jax.utils import paths


@dataclasses.dataclass(frozen=True, kw_only=True)
class Save:
  """Files to write, which other programs such as ADM's suite can read too.

  Attributes:
    samples: an .npz file for the evaluated images; None for none.
    statistics: an .npz file for the statistics of the reference set.
  """

  samples: str | os.PathLike | None = None
  statistics: str | os.PathLike | None = None

  def __post_init__(self):
    for path in (self.samples, self.statistics):
      if path is not None and paths.check_file(path).suffix != '.npz':
        raise ValueError(f'{path} must be the name of an .npz file.')

  def arrays(self, images: image_sets.ImageSet) -> list[str]:
    """Returns the arrays of the evaluated images that are needed."""
    if self.samples is None:
      return []
    return ['image', 'label'] if images.class_names else ['image']

  def check(self, chosen: choosing.Chosen) -> None:
    """Raises ValueError if there will be no statistics to write."""
    if self.statistics is not None and not _moments(chosen):
      raise ValueError(
        f'{self.statistics} needs the metric fid or sfid; add one of them.'
      )

  def write(
    self,
    images: image_sets.ImageSet,
    features: feature_sets.StoredFeatures,
    reference: feature_sets.FeatureSet | None,
    chosen: choosing.Chosen,
  ) -> None:
    """Writes the files, in the first process.

    Args:
      images: the evaluated images.
      features: their arrays.
      reference: the reference set.
      chosen: the metrics, whose statistics are written.
    """
    if jax.process_index() > 0:
      return
    if self.samples is not None:
      rows = [features.rows(name) for name in self.arrays(images)]
      adm_files.write_samples(self.samples, *rows)
    if self.statistics is not None:
      assert reference is not None  # `check` requires one
      extractor = chosen.extractors[metric_table.MAIN]
      adm_files.write_statistics(
        self.statistics,
        reference,
        _moments(chosen),
        passes.describe_extractor(extractor),
        images.image_shape,
      )


def _moments(chosen: choosing.Chosen) -> list[str]:
  """Returns the arrays of which metrics read the mean and the covariance."""
  return [
    array
    for metric in chosen.metrics.values()
    for array in metric.arrays
    if metric.reference == 'statistics'
  ]
