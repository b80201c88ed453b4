"""Options of an evaluation."""

import dataclasses
from typing import Annotated

from vq_jax.utils import fields

_Images = Annotated[int, fields.Range(least=1, most=2**24)]
_Batch = Annotated[int, fields.Range(least=1, most=2**14)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
  """Options of an evaluation.

  Attributes:
    metrics: names of the metrics, of `metric_table.METRICS`; None for all that
      can be computed. One that is named and cannot be computed is an error. The
      classification accuracy score, cas, is computed only if it is named.
    num: number of images to generate, or the largest number to reconstruct;
      50,000 by default. Numbers of different numbers cannot be compared.
    seed: seed of the samples, of subsets, and of splits.
    batch_size: number of images of a batch.
    features: the feature network, inception by default; see
      `vq_jax.features.load_extractor`.
    weights: file with its weights; by default see `vq_jax.features.find`.
    resizer: how images are resized for it; by default as it is usual for it.
    data: the real images, as tfds:<name>, folder:<path> or npz:<file>; by
      default the data of the run.
    split: the split of these images; by default that of training for the
      reference of generated images, and that of evaluation to reconstruct.
    data_dir: the folder of the data sets of TFDS.
    reference: the reference set in place of `data`: a folder of images, or an
      .npz file with statistics (mu, sigma) or images (arr_0). Statistics of
      other programs need the resizer that they were made with.

  Example:
    >>> from vq_jax import evaluation
    >>> evaluation.EvaluationOptions(metrics=('fid', 'is'), num=10_000).num
    10000
  """

  metrics: tuple[str, ...] | None = None
  num: _Images = 50_000
  seed: fields.Seed = 0
  batch_size: _Batch = 128
  features: str = 'inception'
  weights: str | None = None
  resizer: str | None = None
  data: str | None = None
  split: str | None = None
  data_dir: str | None = None
  reference: str | None = None

  def __post_init__(self):
    fields.check(self)
