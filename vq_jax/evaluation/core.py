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
from vq_jax.evaluation import results
from vq_jax.evaluation import saving
from vq_jax.evaluation.options import EvaluationOptions

_WORK, _REFERENCES = 'work', 'references'
Scorer = Callable[[feature_sets.StoredFeatures, pathlib.Path], records.Result]


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
  scorer: Scorer | None = None,
  save: saving.Save | None = None,
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
    keep: further arrays of the evaluated images that `scorer` needs.
    scorer: computes a further result from the evaluated images, with a folder
      for files.
    save: the files to write besides.
  """
  save = save or saving.Save()
  save.check(chosen)
  real = work_dir / _REFERENCES
  reference = _read_reference(sets, chosen, options, real)
  pass_ = make_pass(chosen, options)
  arrays = pass_.arrays.union(keep, save.arrays(sets.images))
  pass_ = dataclasses.replace(pass_, arrays=arrays)
  images = read_features(sets.images, pass_, work_dir / _WORK)
  save.write(sets.images, images, reference, chosen)
  inputs = metric_table.Inputs(
    images=images,
    reference=reference,
    statistics=chosen.statistics,
    seed=options.seed,
  )
  floor, note = _read_floor(sets, inputs, chosen, options, real)
  found = results.compute(chosen, inputs, floor, note)
  if scorer is not None:
    found.append(scorer(images, work_dir / _WORK))
  images.remove()
  return records.Record(
    kind=kind,
    images=sets.images.name,
    model=sets.images.describe().get('model'),
    seed=options.seed,
    sampling=sampling,
    results=tuple(found),
    unavailable=chosen.unavailable,
  )


def _read_reference(
  sets: Sets,
  chosen: choosing.Chosen,
  options: EvaluationOptions,
  work_dir: pathlib.Path,
) -> feature_sets.FeatureSet | None:
  """Computes the features of the reference set, if a metric needs them."""
  if not isinstance(sets.reference, image_sets.ImageSet):
    return sets.reference
  # Without held-out images, the floor is computed from the reference.
  few = sets.held_out is not None
  pass_ = make_pass(chosen, options, networks=True, reference=few)
  if not pass_.arrays:
    return None
  return read_features(sets.reference, pass_, work_dir)


def _read_floor(
  sets: Sets,
  inputs: metric_table.Inputs,
  chosen: choosing.Chosen,
  options: EvaluationOptions,
  root: pathlib.Path,
) -> tuple[metric_table.Inputs | None, str | None]:
  """Reads real images that take the place of the evaluated ones.

  Returns:
    the inputs of the floors, or None; and what they are, or why there are none.
  """
  pass_ = make_pass(chosen, options, networks=True)
  if not pass_.arrays:
    return None, None
  if sets.held_out is not None:
    held_out = read_features(sets.held_out, pass_, root)
    note = f'{held_out.count} images of {held_out.name}'
    return dataclasses.replace(inputs, images=held_out), note
  if isinstance(inputs.reference, feature_sets.StoredFeatures):
    return floors.halves(inputs.reference, inputs.images.count, options.seed)
  return None, f'none, since {sets.no_held_out}'


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
