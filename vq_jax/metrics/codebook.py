"""How well a codebook is used.

A figure says over what it was taken, in its name: `batch_*` come from the
quantizer, `window_*` from the training steps since the last line of metrics,
`dataset_*` from a whole split. They are not comparable: a batch of few vectors
cannot choose many codes.
"""

import jax
import numpy as np

from vq_jax.quantizers.base import perplexity
from vq_jax.quantizers.base import usage

__all__ = ['dataset_stats', 'perplexity', 'usage', 'window_stats']


def window_stats(counts: jax.Array | np.ndarray) -> dict[str, jax.Array]:
  """Returns `window_usage` and `window_perplexity` of counts [..., K]."""
  return {
    'window_usage': usage(counts),
    'window_perplexity': perplexity(counts),
  }


def dataset_stats(counts: jax.Array | np.ndarray) -> dict[str, jax.Array]:
  """Returns `dataset_usage` and `dataset_perplexity` of counts [..., K]."""
  return {
    'dataset_usage': usage(counts),
    'dataset_perplexity': perplexity(counts),
  }
