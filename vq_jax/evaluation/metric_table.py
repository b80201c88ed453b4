"""The metrics of an evaluation, by name."""

import dataclasses
from collections.abc import Callable
from collections.abc import Mapping
from typing import Literal

import numpy as np

from vq_jax import metrics as metrics_lib
from vq_jax.evaluation import feature_sets
from vq_jax.metrics import estimates
from vq_jax.metrics import rows as rows_lib

Value = float | estimates.Estimate
Bounds = tuple[float | None, float | None]

MAIN, CLIP = '', 'clip_'  # prefixes of the arrays of the feature networks
CLIP_MODEL = 'clip'  # that of CMMD, ViT-L/14@336px


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inputs:
  """What a metric is computed from.

  Attributes:
    images: the images that are evaluated.
    reference: the reference set; None if there is none.
    statistics: published statistics of the reference set, which take the place
      of those of its images.
    seed: seed of subsets and splits.
  """

  images: feature_sets.StoredFeatures
  reference: feature_sets.FeatureSet | None
  seed: int
  statistics: feature_sets.Statistics | None = None

  @property
  def real(self) -> feature_sets.FeatureSet:
    """The reference set, for metrics that need one."""
    assert self.reference is not None
    return self.reference


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metric:
  """How a metric is computed.

  Attributes:
    compute: inputs -> name of a number -> its value.
    arrays: the arrays of the images that it reads.
    ranges: name of a number -> its smallest and largest value; None for none.
    reference: what it reads of the reference set; with 'matched', the features
      of a random part of as many images as are evaluated.
    extractor: prefix of its feature network; None if it uses none.
    least: the smallest number of images of a set.
  """

  compute: Callable[[Inputs], Mapping[str, Value]]
  arrays: tuple[str, ...]
  ranges: Mapping[str, Bounds]
  reference: Literal['none', 'statistics', 'features', 'matched'] = 'none'
  extractor: str | None = MAIN
  least: int = 1


def _frechet(name: str, array: str) -> Metric:
  def compute(inputs: Inputs) -> dict[str, Value]:
    gaussians = (x.gaussian(array) for x in (inputs.images, inputs.real))
    return {name: metrics_lib.frechet_distance(*gaussians)}

  return Metric(
    compute=compute,
    arrays=(array,),
    ranges={name: (0, None)},
    reference='statistics',
    least=2,
  )


def _inception_score(inputs: Inputs) -> dict[str, Value]:
  logits = inputs.images.rows('logits')
  splits = min(10, len(logits))
  return {
    'is': metrics_lib.inception_score(logits, splits=splits, seed=inputs.seed)
  }


def _kid(inputs: Inputs) -> dict[str, Value]:
  sets = (x.rows('pooled') for x in (inputs.images, inputs.real))
  return {'kid': metrics_lib.kid(*sets, seed=inputs.seed)}


def _precision_recall(inputs: Inputs) -> dict[str, Value]:
  precision, recall = metrics_lib.precision_recall(
    inputs.real.rows('pooled'), inputs.images.rows('pooled')
  )
  return {'precision': precision, 'recall': recall}


def _density_coverage(inputs: Inputs) -> dict[str, Value]:
  density, coverage = metrics_lib.density_coverage(
    inputs.real.rows('pooled'), inputs.images.rows('pooled')
  )
  return {'density': density, 'coverage': coverage}


def _cmmd(inputs: Inputs) -> dict[str, Value]:
  sets = (x.rows('clip_pooled') for x in (inputs.images, inputs.real))
  return {'cmmd': metrics_lib.cmmd(*sets)}


METRICS: dict[str, Metric] = {
  'fid': _frechet('fid', 'pooled'),
  'sfid': _frechet('sfid', 'spatial'),
  'is': Metric(
    compute=_inception_score, arrays=('logits',), ranges={'is': (1, None)}
  ),
  'kid': Metric(
    compute=_kid,
    arrays=('pooled',),
    ranges={'kid': (None, None)},
    reference='features',
    least=2,
  ),
  'pr': Metric(
    compute=_precision_recall,
    arrays=('pooled',),
    ranges={'precision': (0, 1), 'recall': (0, 1)},
    reference='matched',
    least=4,
  ),
  'dc': Metric(
    compute=_density_coverage,
    arrays=('pooled',),
    ranges={'density': (0, None), 'coverage': (0, 1)},
    reference='matched',
    least=6,
  ),
  'cmmd': Metric(
    compute=_cmmd,
    arrays=('clip_pooled',),
    ranges={'cmmd': (0, None)},
    reference='matched',
    extractor=CLIP,
  ),
}


def mean(rows: rows_lib.Rows) -> float:
  """Returns the mean of numbers [n], in float64, chunk by chunk."""
  total = 0.0
  for start in range(0, len(rows), rows_lib.CHUNK):
    part = rows[start : start + rows_lib.CHUNK]
    total += float(np.sum(part, dtype=np.float64))
  return total / len(rows)
