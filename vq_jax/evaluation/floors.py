"""The real-against-real floor: what a perfect model would reach."""

import numpy as np

from vq_jax.evaluation import feature_sets
from vq_jax.evaluation import metric_table

_LEAST = 2  # images of a half


def halves(
  reference: feature_sets.FeatureSet, count: int, seed: int
) -> tuple[metric_table.Inputs | None, str]:
  """Splits the images of a reference set into two random parts.

  Args:
    reference: the reference set.
    count: number of images that are evaluated; at most half of the reference
      takes their place.
    seed: seed of the split, and of the metrics.

  Returns:
    the two parts as the inputs of metrics, or None; and what they are, or why
    there are none.
  """
  if not isinstance(reference, feature_sets.StoredFeatures):
    return None, f'none, since {reference.name} has no images'
  if reference.count < 2 * _LEAST:
    return None, f'none, since {reference.name} has only {reference.count}'
  order = np.random.default_rng(seed).permutation(reference.count)
  size = min(count, reference.count // 2)
  inputs = metric_table.Inputs(
    images=reference.select(np.sort(order[:size])),
    reference=reference.select(np.sort(order[size:])),
    seed=seed,
  )
  return inputs, (
    f'{size} random images of {reference.name} against its other '
    f'{reference.count - size}'
  )
