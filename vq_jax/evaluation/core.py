"""What all evaluations share: passes, metrics, floors and the record."""

import dataclasses
import pathlib
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from vq_jax.evaluation import choosing
from vq_jax.evaluation import feature_sets
from vq_jax.evaluation import floors
from vq_jax.evaluation import image_sets
from vq_jax.evaluation import metric_table
from vq_jax.evaluation import passes
from vq_jax.evaluation import records
from vq_jax.evaluation.options import EvaluationOptions
from vq_jax.metrics import estimates

_WORK, _REFERENCES = 'work', 'references'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sets:
  """The sets of images of an evaluation.

  Attributes:
    images: the images that are evaluated.
    reference: the real images or statistics they are compared with, if any.
    held_out: other real images, for the floor; None if there are none.
    no_held_out: why there are none.
  """

  images: image_sets.ImageSet
  reference: choosing.Reference | None = None
  held_out: image_sets.ImageSet | None = None
  no_held_out: str = 'no held-out images are at hand'


def evaluate(
  kind: str,
  sets: Sets,
  chosen: choosing.Chosen,
  options: EvaluationOptions,
  work_dir: pathlib.Path,
  *,
  sampling: Sequence[Mapping[str, Any]] = (),
  keep: Collection[str] = (),
  use: Callable[[feature_sets.StoredFeatures], None] | None = None,
) -> records.Record:
  """Runs the passes, and computes all metrics and their floors.

  Args:
    kind: see `records.Record`.
    sets: the sets of images.
    chosen: the metrics.
    options: the options.
    work_dir: the folder for the files of the passes. Those of the evaluated
      images are removed at the end, those of real images are kept.
    sampling: see `records.Record`.
    keep: further arrays of the evaluated images that `use` needs.
    use: is called with the evaluated images, before they are removed.
  """
  real = work_dir / _REFERENCES
  reference = sets.reference
  if isinstance(reference, image_sets.ImageSet):
    # Without held-out images, the floor is computed from the reference.
    few = sets.held_out is not None
    pass_ = make_pass(chosen, options, networks=True, reference=few)
    reference = read_features(reference, pass_, real) if pass_.arrays else None
  pass_ = make_pass(chosen, options)
  pass_ = dataclasses.replace(pass_, arrays=pass_.arrays.union(keep))
  images = read_features(sets.images, pass_, work_dir / _WORK)
  if use is not None:
    use(images)
  inputs = metric_table.Inputs(
    images=images, reference=reference, seed=options.seed
  )
  floor, note = None, f'none, since {sets.no_held_out}'
  if sets.held_out is not None:
    of_networks = make_pass(chosen, options, networks=True)
    held_out = read_features(sets.held_out, of_networks, real)
    floor = dataclasses.replace(inputs, images=held_out)
    note = f'{held_out.count} images of {held_out.name}'
  elif isinstance(reference, feature_sets.StoredFeatures):
    floor, note = floors.halves(reference, images.count, options.seed)
  results = compute(chosen, inputs, floor, note)
  images.remove()
  return records.Record(
    kind=kind,
    images=sets.images.name,
    seed=options.seed,
    sampling=sampling,
    results=tuple(results),
    unavailable=chosen.unavailable,
  )


def make_pass(
  chosen: choosing.Chosen,
  options: EvaluationOptions,
  *,
  networks: bool = False,
  reference: bool = False,
) -> passes.Pass:
  """Returns what is computed for each image.

  Args:
    chosen: the metrics.
    options: has the size of batches.
    networks: whether only features of networks are computed, as for floors.
    reference: whether only those are computed that metrics read of the
      reference set.
  """
  arrays = {
    array
    for metric in chosen.metrics.values()
    for array in metric.arrays
    if not (networks and metric.extractor is None)
    and not (reference and metric.reference == 'none')
  }
  size = options.batch_size
  return passes.Pass(
    extractors=chosen.extractors,
    arrays=frozenset(arrays),
    batch_size=size,
    shard_size=-(-passes.SHARD_SIZE // size) * size,
  )


def read_features(
  images: image_sets.ImageSet, pass_: passes.Pass, root: pathlib.Path
) -> feature_sets.StoredFeatures:
  """Runs a pass, or finds its shards, and opens them as features."""
  shards = pass_.run(images, root)
  return feature_sets.StoredFeatures(
    shards, name=images.name, checksum=passes.checksum(shards)
  )


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
    floors, real = {}, None
    if floor is not None and metric.extractor is not None:
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


def _match(
  metric: metric_table.Metric, inputs: metric_table.Inputs
) -> metric_table.Inputs:
  """Takes as many images of the reference as are evaluated, if it matters."""
  if metric.reference != 'features':
    return inputs
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
  spread = {}
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
      'name': inputs.reference.name,
      'checksum': inputs.reference.checksum,
      'samples': inputs.reference.count,
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
