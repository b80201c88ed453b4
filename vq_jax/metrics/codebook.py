"""How well a codebook is used.

A figure says over what it was taken, in its name: `batch_*` come from the
quantizer, `window_*` from the training steps since the last line of metrics,
`dataset_*` from a whole split. They are not comparable: a batch of few vectors
cannot choose many codes.
"""

from collections.abc import Mapping

import jax
import numpy as np

from vq_jax.quantizers.base import perplexity
from vq_jax.quantizers.base import usage

# Suffix of a grid's figures -> counts [..., K]; see
# `vq_jax.autoencoders.base.code_counts`.
Counts = Mapping[str, jax.Array | np.ndarray]

__all__ = ['dataset_stats', 'perplexity', 'usage', 'window_stats']


def window_stats(counts: Counts) -> dict[str, jax.Array]:
  """Returns `window_usage` and `window_perplexity` of each grid's counts."""
  return _stats('window', counts)


def dataset_stats(counts: Counts) -> dict[str, jax.Array]:
  """Returns `dataset_usage` and `dataset_perplexity` of each grid's counts."""
  return _stats('dataset', counts)


def _stats(over: str, counts: Counts) -> dict[str, jax.Array]:
  stats = {}
  for suffix, of_grid in counts.items():
    stats[f'{over}_usage{suffix}'] = usage(of_grid)
    stats[f'{over}_perplexity{suffix}'] = perplexity(of_grid)
  return stats
