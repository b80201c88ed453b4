"""The metrics of an evaluation, chosen before any long work."""

import dataclasses
import warnings
from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from vq_jax import features as features_lib
from vq_jax.evaluation import feature_sets
from vq_jax.evaluation import image_sets
from vq_jax.evaluation import metric_table
from vq_jax.evaluation import published
from vq_jax.evaluation.options import EvaluationOptions
from vq_jax.features import FeatureExtractor
from vq_jax.utils import names as names_lib

Metrics = Mapping[str, metric_table.Metric]
Reference = published.Reference


class UnavailableMetricWarning(UserWarning):
  """A metric is left out, since it cannot be computed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chosen:
  """The metrics that are computed, and their feature networks.

  Attributes:
    metrics: name -> metric.
    extractors: prefix -> feature network.
    unavailable: name -> why it cannot be computed.
    statistics: the statistics that come with the images of the reference set,
      as far as they are those of the main network.
  """

  metrics: Metrics
  extractors: Mapping[str, FeatureExtractor]
  unavailable: Mapping[str, str]
  statistics: feature_sets.Statistics | None = None


def load_extractors(
  options: EvaluationOptions,
  metrics: Metrics,
  given: FeatureExtractor | None = None,
) -> tuple[dict[str, FeatureExtractor], dict[str, str]]:
  """Loads the feature networks of metrics.

  Args:
    options: names the main network.
    metrics: the metrics.
    given: the main network, if it is loaded already.

  Returns:
    prefix -> network, and prefix -> why it is missing.

  Raises:
    ValueError: see `features.load_extractor`, or if the options have another
      resizer than the given network.
  """
  extractors = (metric.extractor for metric in metrics.values())
  needed = {prefix for prefix in extractors if prefix is not None}
  found: dict[str, FeatureExtractor] = {}
  missing: dict[str, str] = {}
  for prefix in sorted(needed):
    if prefix == metric_table.MAIN and given is not None:
      if options.resizer not in (None, given.resizer):
        raise ValueError(
          f'the extractor has the resizer {given.resizer!r} and the options '
          f'have {options.resizer!r}; leave that of the options out.'
        )
      found[prefix] = given
      continue
    arguments: dict[str, Any] = {'name': metric_table.CLIP_MODEL}
    if prefix == metric_table.MAIN:
      arguments = {
        'name': options.features,
        'weights': options.weights,
        'resizer': options.resizer,
      }
    try:
      found[prefix] = features_lib.load_extractor(**arguments)
    except features_lib.MissingWeights as error:
      # The cause does not propose other networks, which are no CLIP.
      main = prefix == metric_table.MAIN
      missing[prefix] = str(error if main else error.__cause__ or error)
  return found, missing


def choose_metrics(
  options: EvaluationOptions,
  possible: Metrics,
  images: image_sets.ImageSet,
  reference: Reference | None,
  extractor: FeatureExtractor | None = None,
  unavailable: Mapping[str, str] | None = None,
  others: Collection[str] = (),
) -> Chosen:
  """Chooses the metrics, before any long work; warns of those left out.

  Args:
    options: may name the metrics.
    possible: the metrics of this kind of evaluation.
    images: the images to evaluate.
    reference: the reference set, or None.
    extractor: the main feature network, if it is loaded already.
    unavailable: name of a metric -> why it cannot be computed, if that is known
      already.
    others: names that are valid too, of metrics that are not computed from
      features.

  Raises:
    ValueError: if a metric that is named is unknown or cannot be computed, no
      metric can be computed, or the images, the reference or the resizer do
      not fit.
  """
  if isinstance(reference, image_sets.ImageSet):
    image_sets.check_same_shape(images, reference)
  _check_names(options, [*possible, *others])
  wanted = {
    name: metric
    for name, metric in possible.items()
    if options.metrics is None or name in options.metrics
  }
  extractors, missing = load_extractors(options, wanted, extractor)
  main = extractors.get(metric_table.MAIN)
  if any(metric.reference == 'statistics' for metric in wanted.values()):
    published.check(reference, images, main, options)
  shapes = {
    f'{prefix}{name}': shape
    for prefix, network in extractors.items()
    for name, shape in _output_shapes(network, images.image_shape).items()
  }
  reasons = {k: v for k, v in (unavailable or {}).items() if k in wanted}
  for name, metric in wanted.items():
    reason = _why_not(metric, images, reference, extractors, missing, shapes)
    if reason is not None and name not in reasons:
      reasons[name] = reason
  if reasons and (options.metrics is not None or len(reasons) == len(wanted)):
    first = next(iter(reasons.values()))
    same = [name for name, reason in reasons.items() if reason == first]
    raise ValueError(f'{", ".join(same)} cannot be computed: {first}')
  _warn(reasons)
  return Chosen(
    metrics={k: m for k, m in wanted.items() if k not in reasons},
    extractors=extractors,
    unavailable=reasons,
    statistics=published.find(reference, extractors, shapes),
  )


def _warn(reasons: Mapping[str, str]) -> None:
  """Warns of the metrics that are left out, once for each reason."""
  for reason in dict.fromkeys(reasons.values()):
    names = [name for name, own in reasons.items() if own == reason]
    verb = 'are' if len(names) > 1 else 'is'
    warnings.warn(
      f'{", ".join(names)} {verb} left out: {reason}',
      UnavailableMetricWarning,
      stacklevel=3,
    )


def _check_names(options: EvaluationOptions, valid: Sequence[str]) -> None:
  """Raises ValueError if a metric that is named is unknown."""
  for name in options.metrics or ():
    if name not in valid:
      raise ValueError(names_lib.unknown('metric', name, valid))


def _output_shapes(
  extractor: FeatureExtractor, image_shape: tuple[int, ...]
) -> dict[str, tuple[int, ...]]:
  """Returns the shapes of the features of one image, without computing them.

  Raises:
    ValueError: if the extractor refuses images of this size.
  """
  resized = extractor.resize(np.zeros((1, *image_shape[:2], 3), np.uint8))
  found = jax.eval_shape(
    extractor.apply, jax.ShapeDtypeStruct(resized.shape, resized.dtype)
  )
  return {name: found[name].shape[1:] for name in extractor.outputs}


def _why_not(
  metric: metric_table.Metric,
  images: image_sets.ImageSet,
  reference: Reference | None,
  extractors: Mapping[str, FeatureExtractor],
  missing: Mapping[str, str],
  shapes: Mapping[str, tuple[int, ...]],
) -> str | None:
  """Returns why a metric cannot be computed, or None."""
  if metric.extractor is not None and metric.extractor in missing:
    return missing[metric.extractor]
  if metric.extractor is not None:
    extractor = extractors[metric.extractor]
    for array in metric.arrays:
      if array not in shapes:
        return (
          f'{extractor.name} has no output {array!r}, only '
          f'{", ".join(extractor.outputs)}.'
        )
  if len(images) < metric.least:
    return _too_few(images, metric)
  if metric.reference == 'none':
    return None
  if reference is None:
    return 'there is no reference set; give real images or statistics.'
  if isinstance(reference, feature_sets.Statistics):
    return published.why_not(metric, reference, extractor, shapes)
  if len(reference) < metric.least:
    return _too_few(reference, metric)
  return None


def _too_few(images: image_sets.ImageSet, metric: metric_table.Metric) -> str:
  return (
    f'it needs at least {metric.least} images, and this set has '
    f'{len(images)}: {images.name}.'
  )
