"""The numbers of an evaluation, computed from features in files."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from vq_jax.evaluation import choosing
from vq_jax.evaluation import feature_sets
from vq_jax.evaluation import metric_table
from vq_jax.evaluation import passes
from vq_jax.evaluation import records
from vq_jax.metrics import estimates


def compute(
  chosen: choosing.Chosen,
  inputs: metric_table.Inputs,
  floor: metric_table.Inputs | None,
  note: str | None,
) -> list[records.Result]:
  """Computes all metrics, and their floors.

  Args:
    chosen: the metrics.
    inputs: the evaluated images and the reference set.
    floor: the same with real images in place of the evaluated ones, if there
      are any.
    note: what these are, or why there are none.
  """
  results = []
  for metric in chosen.metrics.values():
    used = _match(metric, inputs)
    values = metric.compute(used)
    floors: Mapping[str, metric_table.Value] = {}
    if floor is not None and _has_floor(metric, floor):
      real = _match(metric, floor)
      floors = metric.compute(real)
    for name, value in values.items():
      result = _make_result(name, value, metric, used, chosen)
      if metric.extractor is not None:
        result = dataclasses.replace(result, floor_note=note)
      if name in floors:
        result = dataclasses.replace(
          result,
          floor=_number(floors[name], name),
          floor_samples=real.images.count,
        )
      results.append(result)
  return results


def _has_floor(metric: metric_table.Metric, floor: metric_table.Inputs) -> bool:
  """Returns whether there are enough real images for the floor of a metric."""
  if metric.extractor is None:
    return False
  counts: list[int | None] = [floor.images.count]
  if metric.reference != 'none':
    counts.append(floor.real.count)
  return all(n is None or n >= metric.least for n in counts)


def _match(
  metric: metric_table.Metric, inputs: metric_table.Inputs
) -> metric_table.Inputs:
  """Takes what a metric reads of the reference: statistics, or some images."""
  published = inputs.statistics
  if metric.reference == 'statistics' and published is not None:
    if set(metric.arrays) <= set(published.gaussians):
      return dataclasses.replace(inputs, reference=published)
  if metric.reference != 'matched':
    return inputs
  assert isinstance(inputs.reference, feature_sets.StoredFeatures)
  sample = inputs.reference.sample(inputs.images.count, inputs.seed)
  return dataclasses.replace(inputs, reference=sample)


def _make_result(
  name: str,
  value: metric_table.Value,
  metric: metric_table.Metric,
  inputs: metric_table.Inputs,
  chosen: choosing.Chosen,
) -> records.Result:
  """Returns a number with what it depends on, without its floor."""
  spread: dict[str, Any] = {}
  if isinstance(value, estimates.Estimate):
    spread = {
      'deviation': value.deviation,
      'standard_error': value.standard_error,
    }
  features, reference = None, None
  if metric.extractor is not None:
    extractor = chosen.extractors[metric.extractor]
    features = passes.describe_extractor(extractor)
  if metric.reference != 'none':
    reference = {
      'name': inputs.real.name,
      'checksum': inputs.real.checksum,
      'samples': inputs.real.count,
    }
  return records.Result(
    metric=name,
    value=_number(value, name),
    range=metric.ranges[name],
    samples=inputs.images.count,
    features=features,
    reference=reference,
    **spread,
  )


def _number(value: metric_table.Value, name: str) -> float:
  number = value.value if isinstance(value, estimates.Estimate) else value
  return records.finite(number, name)
