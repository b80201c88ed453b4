"""Files of an evaluation for other programs."""

import dataclasses
import os

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

  def write(
    self,
    images: image_sets.ImageSet,
    features: feature_sets.StoredFeatures,
    reference: feature_sets.FeatureSet | None,
    chosen: choosing.Chosen,
  ) -> None:
    """Writes the files.

    Args:
      images: the evaluated images.
      features: their arrays.
      reference: the reference set.
      chosen: the metrics, whose statistics are written.
    """
    if self.samples is not None:
      rows = [features.rows(name) for name in self.arrays(images)]
      adm_files.write_samples(self.samples, *rows)
    if self.statistics is not None and reference is not None:
      arrays = [a for name in ('fid', 'sfid') for a in _arrays(chosen, name)]
      extractor = chosen.extractors[metric_table.MAIN]
      adm_files.write_statistics(
        self.statistics,
        reference,
        arrays,
        passes.describe_extractor(extractor),
      )


def _arrays(chosen: choosing.Chosen, name: str) -> tuple[str, ...]:
  return chosen.metrics[name].arrays if name in chosen.metrics else ()
