"""What frozen features know of the classes: linear and few-shot probes.

A probe is ridge regression onto the classes' indicators, in closed form, so
that a figure depends on nothing but features, draws and penalty.
"""

from collections.abc import Iterable
from typing import Annotated

import numpy as np

from vq_jax.utils import fields

Draws = Annotated[int, fields.Range(least=1, most=10_000)]


@fields.checked
def ridge(
  features: np.ndarray, targets: np.ndarray, penalty: fields.NonNegativeFloat
) -> tuple[np.ndarray, np.ndarray]:
  """Minimises |X W + b - Y|^2 + l |W|^2 with l = penalty * N.

  Features should be standardised; then l is `penalty` times the mean of the
  diagonal of X X^T, whatever the numbers of examples and of features. The
  smaller of the two systems of equations is solved.

  Args:
    features: X, float [B, N].
    targets: Y, float [B, K].
    penalty: at least 0; where it is 0 and B <= N, the smallest W is taken.

  Returns:
    W float64 [N, K] and b float64 [K].
  """
  x, y = np.asarray(features, np.float64), np.asarray(targets, np.float64)
  x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
  x, y = x - x_mean, y - y_mean
  examples, width = x.shape
  strength = penalty * width
  if width <= examples:
    weights = _solve(x.T @ x, strength, x.T @ y)
  else:
    weights = x.T @ _solve(x @ x.T, strength, y)
  return weights, y_mean - x_mean @ weights


def _solve(gram: np.ndarray, strength: float, right: np.ndarray) -> np.ndarray:
  """Solves (gram + strength I) w = right."""
  if strength == 0:
    return np.linalg.lstsq(gram, right, rcond=None)[0]
  gram = gram + strength * np.eye(len(gram))
  return np.linalg.solve(gram, right)


@fields.checked
def probe_accuracy(
  train: tuple[np.ndarray, np.ndarray],
  test: tuple[np.ndarray, np.ndarray],
  *,
  penalty: fields.NonNegativeFloat = 0.1,
) -> float:
  """Returns the accuracy on `test` of a probe fitted to `train`.

  Args:
    train: features float [B, N] and labels int [B].
    test: likewise.
    penalty: see `ridge`.
  """
  x, labels = train
  mean, spread = x.mean(axis=0), x.std(axis=0)
  # A feature that does not vary says nothing; it is not blown up by rounding.
  scale = np.where(spread > 1e-6 * np.abs(mean), spread, np.inf)
  classes = np.unique(labels)
  targets = (labels[:, None] == classes).astype(np.float64)
  weights, bias = ridge((x - mean) / scale, targets, penalty)
  scores = (test[0] - mean) / scale @ weights + bias
  return float((classes[scores.argmax(axis=-1)] == test[1]).mean())


@fields.checked
def few_shot_accuracy(
  train: tuple[np.ndarray, np.ndarray],
  test: tuple[np.ndarray, np.ndarray],
  *,
  shots: Iterable[int] = (1, 5, 10, 100),
  draws: Draws = 10,
  seed: fields.Seed = 0,
  penalty: fields.NonNegativeFloat = 0.1,
) -> dict[int, tuple[float, float]]:
  """Fits probes to few examples of each class.

  Args:
    train: features float [B, N] and labels int [B], to draw from.
    test: likewise; all of it is judged.
    shots: numbers k of examples of each class.
    draws: how often each number is drawn, at most 10,000 times; without
      repetition within a draw.
    seed: of the draws; those of one seed are the same for all features.
    penalty: see `ridge`.

  Returns:
    k -> mean and standard deviation of the accuracy over the draws.

  Raises:
    ValueError: if a class has fewer examples than k.
  """
  labels = train[1]
  members = [np.flatnonzero(labels == c) for c in np.unique(labels)]
  fewest = min(len(rows) for rows in members)
  shots = tuple(
    fields.check_value('shots', k, fields.PositiveInt) for k in shots
  )
  for k in shots:
    if k > fewest:
      raise ValueError(
        f'shots must lie between 1 and {fewest}, the size of the smallest '
        f'class of the training examples; got {k}.'
      )
  found = {}
  for k in shots:
    accuracies = []
    for draw in range(draws):
      rng = np.random.default_rng([seed, k, draw])
      rows = np.concatenate(
        [rng.choice(own, k, replace=False) for own in members]
      )
      few = (train[0][rows], labels[rows])
      accuracies.append(probe_accuracy(few, test, penalty=penalty))
    found[k] = (float(np.mean(accuracies)), float(np.std(accuracies)))
  return found
