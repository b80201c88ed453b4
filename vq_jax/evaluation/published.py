"""Statistics that were computed before, and whether they fit an evaluation."""

from collections.abc import Mapping

from vq_jax.evaluation import feature_sets
from vq_jax.evaluation import image_sets
from vq_jax.evaluation import metric_table
from vq_jax.evaluation import passes
from vq_jax.evaluation.options import EvaluationOptions
from vq_jax.features import FeatureExtractor

Reference = image_sets.ImageSet | feature_sets.Statistics
_INCEPTION, _ADM, _DEFAULT = 'inception', 'tensorflow', 'clean'


def check(
  reference: Reference | None,
  images: image_sets.ImageSet,
  extractor: FeatureExtractor | None,
  options: EvaluationOptions,
) -> None:
  """Checks that statistics and features come from images of one kind.

  Files of other programs do not name their resizer. Those with spatial features
  are of ADM's suite, which resizes in TensorFlow's graph; for all others, the
  resizer must be given.

  Args:
    reference: the reference set; None and images without statistics fit.
    images: the images to evaluate.
    extractor: the main feature network; None if its weights are missing.
    options: may name the resizer.

  Raises:
    ValueError: if they were resized in another way, or it is not known, or the
      statistics are of images of another size.
  """
  found = getattr(reference, 'statistics', reference)
  if not isinstance(found, feature_sets.Statistics):
    return
  shape = tuple(images.image_shape)
  if found.image_shape not in (None, shape):
    raise ValueError(
      f'{found.name} has statistics of images {list(found.image_shape)}; '
      f'{images.name} has {list(shape)}. Give statistics of images of this '
      'shape.'
    )
  if found.extractor is not None or extractor is None:
    return
  if extractor.name != _INCEPTION:  # the number of features will differ
    return
  if 'spatial' in found.gaussians:
    if extractor.resizer != _ADM:
      raise ValueError(
        f"{found.name} has statistics of ADM's suite, which resizes images as "
        f'TensorFlow 1 does; the resizer {extractor.resizer!r} gives other '
        f'features. Add --resizer {_ADM}, or leave fid and sfid out with '
        '--metrics.'
      )
  elif options.resizer is None and extractor.resizer == _DEFAULT:
    raise ValueError(
      f'{found.name} does not say how its images were resized. Give the way: '
      f'--resizer {_ADM} for the statistics of ADM and of the original FID, '
      'pytorch for those of pytorch-fid, clean for those of clean-fid.'
    )


def find(
  reference: Reference | None,
  extractors: Mapping[str, FeatureExtractor],
  shapes: Mapping[str, tuple[int, ...]],
) -> feature_sets.Statistics | None:
  """Returns the statistics in a file of images that fit the main network.

  Args:
    reference: the reference set, or None.
    extractors: prefix -> feature network.
    shapes: array -> its shape for one image.
  """
  found = getattr(reference, 'statistics', None)
  main = extractors.get(metric_table.MAIN)
  if found is None or main is None:
    return None
  if found.extractor not in (None, passes.describe_extractor(main)):
    return None
  return found.select(
    [a for a, g in found.gaussians.items() if g.mean.shape == shapes.get(a)]
  )


def why_not(
  metric: metric_table.Metric,
  reference: feature_sets.Statistics,
  extractor: FeatureExtractor,
  shapes: Mapping[str, tuple[int, ...]],
) -> str | None:
  """Returns why a metric cannot be computed from statistics, or None.

  Args:
    metric: the metric.
    reference: the statistics.
    extractor: its feature network.
    shapes: array -> its shape for one image.
  """
  if metric.reference != 'statistics':
    return f'{reference.name} has only statistics; give images.'
  own, here = reference.extractor, passes.describe_extractor(extractor)
  if own is not None and own != here:
    return (
      f'{reference.name} has statistics of other features: {_text(own)} there, '
      f'{_text(here)} here.'
    )
  for array in metric.arrays:
    if array not in reference.gaussians:
      return f'{reference.name} has no statistics of {array} features.'
    width = reference.gaussians[array].mean.shape
    if width != shapes[array]:
      return (
        f'{reference.name} has statistics of {width[0]} {array} features, and '
        f'{extractor.name} has {shapes[array][0]}.'
      )
  return None


def _text(extractor: Mapping[str, str | None]) -> str:
  return ', '.join(f'{k} {str(v):.16}' for k, v in extractor.items())
