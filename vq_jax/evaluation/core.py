"""What all evaluations share: passes, metrics, floors and the record."""

import dataclasses
import os
import pathlib
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import jax

from vq_jax.evaluation import adm_files
from vq_jax.evaluation import choosing
from vq_jax.evaluation import feature_sets
from vq_jax.evaluation import floors
from vq_jax.evaluation import image_sets
from vq_jax.evaluation import metric_table
from vq_jax.evaluation import passes
from vq_jax.evaluation import records
from vq_jax.evaluation.options import EvaluationOptions
from vq_jax.metrics import estimates
from vq_jax.utils import paths

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
  save: Save | None = None,
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
    save: the files to write besides.
  """
  real = work_dir / _REFERENCES
  reference = sets.reference
  if isinstance(reference, image_sets.ImageSet):
    # Without held-out images, the floor is computed from the reference.
    few = sets.held_out is not None
    pass_ = make_pass(chosen, options, networks=True, reference=few)
    reference = read_features(reference, pass_, real) if pass_.arrays else None
  pass_ = make_pass(chosen, options)
  save = save or Save()
  arrays = pass_.arrays.union(keep, save.arrays(sets.images))
  pass_ = dataclasses.replace(pass_, arrays=arrays)
  images = read_features(sets.images, pass_, work_dir / _WORK)
  if jax.process_index() == 0:
    save.write(sets.images, images, reference, chosen)
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
    if _has_floor(metric, floor):
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


def _has_floor(
  metric: metric_table.Metric, floor: metric_table.Inputs | None
) -> bool:
  """Returns whether there are enough real images for the floor of a metric."""
  if floor is None or metric.extractor is None:
    return False
  counts = [floor.images.count]
  if metric.reference != 'none':
    counts.append(floor.reference.count)
  return all(n is None or n >= metric.least for n in counts)


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
