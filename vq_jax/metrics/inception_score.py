"""The Inception Score of class probabilities of generated images."""

import numpy as np

from vq_jax.metrics import estimates
from vq_jax.metrics import rows as rows_lib
from vq_jax.utils import fields


@fields.checked
def inception_score(
  logits: rows_lib.Rows,
  *,
  splits: fields.PositiveInt = 10,
  seed: fields.Seed | None = None,
  chunk_size: fields.PositiveInt = rows_lib.CHUNK,
) -> estimates.Estimate:
  """Returns the Inception Score (Salimans et al. 2016).

    exp(mean_x KL(p(y|x) || p(y)))

  It is computed for each of `splits` parts of the images, with p(y) the mean of
  the part, and averaged. https://arxiv.org/abs/1606.03498, section 4.

  Args:
    logits: float [n, classes], of a classifier.
    splits: number of parts.
    seed: shuffles the images before they are split, as torch-fidelity does
      (its seed is 2020); None keeps their order, as ADM's suite does. Images
      that are sorted by class must be shuffled.
    chunk_size: number of rows that are kept in memory.

  Returns:
    the score, between 1 and the number of classes, and its deviation.

  Raises:
    ValueError: if there are fewer images than splits, or logits are not finite.

  Example:
    >>> import numpy as np
    >>> from vq_jax import metrics
    >>> logits = 100.0 * np.eye(4)
    >>> metrics.inception_score(logits, splits=1).value
    4.0
  """
  rows_lib.check(logits, least=splits, name='logits of the Inception Score')
  order = np.arange(len(logits))
  if seed is not None:
    order = np.random.RandomState(seed).permutation(len(logits))
  bounds = [i * len(logits) // splits for i in range(splits + 1)]
  scores = [
    _score(logits, order[start:stop], chunk_size)
    for start, stop in zip(bounds[:-1], bounds[1:], strict=True)
  ]
  return estimates.of_parts(np.array(scores))


def _score(logits: rows_lib.Rows, order: np.ndarray, chunk_size: int) -> float:
  """Returns the score of some of the rows, in two sums over chunks."""
  marginal: np.ndarray | float = 0.0
  negative_entropy = 0.0
  for chunk in rows_lib.chunks(logits, chunk_size, order):
    log_p = chunk - chunk.max(axis=1, keepdims=True)
    log_p -= np.log(np.exp(log_p).sum(axis=1, keepdims=True))
    p = np.exp(log_p)
    marginal = marginal + p.sum(axis=0)
    negative_entropy += np.sum(p * log_p)
  marginal = np.asarray(marginal / len(order))
  positive = marginal[marginal > 0]  # p log p is 0 where p is
  divergence = negative_entropy / len(order) - np.sum(
    positive * np.log(positive)
  )
  return float(np.exp(max(divergence, 0.0)))
