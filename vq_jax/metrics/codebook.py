"""Usage and perplexity of a codebook.

The prefix of a metric names what it was computed over: `batch_*` one batch,
`window_*` the training steps since the last logged metrics, `dataset_*` a whole
split. They are not comparable, since a batch of few vectors cannot use many
codes.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from vq_jax.quantizers.base import perplexity
from vq_jax.quantizers.base import usage

# Suffix of the metrics of a token grid -> counts [..., K]; see
# `vq_jax.autoencoders.base.code_counts`.
Counts = Mapping[str, jax.Array | np.ndarray]

__all__ = ['dataset_stats', 'perplexity', 'usage', 'window_stats']


def window_stats(counts: Counts) -> dict[str, jax.Array]:
  """Returns `window_usage` and `window_perplexity` of each token grid.

  Args:
    counts: number of uses of each code, for each token grid.

  Example:
    >>> import numpy as np
    >>> from vq_jax.metrics import codebook
    >>> stats = codebook.window_stats({'': np.array([2, 2, 0, 0])})
    >>> {name: float(value) for name, value in stats.items()}
    {'window_usage': 0.5, 'window_perplexity': 2.0}
  """
  return _stats('window', counts)


def dataset_stats(counts: Counts) -> dict[str, jax.Array]:
  """Returns `dataset_usage` and `dataset_perplexity` of each token grid."""
  return _stats('dataset', counts)


def _stats(prefix: str, counts: Counts) -> dict[str, jax.Array]:
  stats = {}
  for suffix, grid_counts in counts.items():
    stats[f'{prefix}_usage{suffix}'] = usage(jnp.asarray(grid_counts))
    stats[f'{prefix}_perplexity{suffix}'] = perplexity(jnp.asarray(grid_counts))
  return stats
