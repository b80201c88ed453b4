"""Linear and few-shot probes of frozen features.

A probe is ridge regression onto one-hot labels, which has a closed form, so an
accuracy depends only on the features, the sampled examples and the penalty.
"""

from collections.abc import Iterable
from typing import Annotated

import numpy as np

from vq_jax.utils import fields
from vq_jax.utils import packages

Draws = Annotated[int, fields.Range(least=1, most=10_000)]


@fields.checked
def probe_accuracy(
  train: tuple[np.ndarray, np.ndarray],
  test: tuple[np.ndarray, np.ndarray],
  *,
  penalty: fields.NonNegativeFloat = 0.1,
) -> float:
  """Fits a linear probe and returns its accuracy.

  Features are standardised. The probe minimises |X W + b - Y|^2 + l |W|^2 with
  l = penalty * N, where Y are the one-hot labels: `penalty` is relative to the
  mean of the diagonal of X X^T, whatever the number of examples or features.

  Args:
    train: features float [B, N] and labels int [B].
    test: features float [B', N] and labels int [B'].
    penalty: at least 0; with 0 the solution of least norm is taken.

  Returns:
    the fraction of the test examples whose label is predicted.

  Example:
    >>> import numpy as np
    >>> from vq_jax.metrics import probe
    >>> features = np.array([[0.0], [0.1], [1.0], [0.9]])
    >>> examples = (features, np.array([0, 0, 1, 1]))
    >>> probe.probe_accuracy(examples, examples)
    1.0
  """
  with packages.required_for('a linear probe'):
    from sklearn import linear_model  # Importing it takes a second.

  x, labels = train
  mean, std = x.mean(axis=0), x.std(axis=0)
  # A constant feature stays 0, and is not divided by a rounding error.
  scale = np.where(std > 1e-6 * np.abs(mean), std, np.inf)
  classes = np.unique(labels)
  model = linear_model.LinearRegression()
  if penalty:
    model = linear_model.Ridge(alpha=penalty * x.shape[1])
  model.fit((x - mean) / scale, (labels[:, None] == classes).astype(np.float64))
  predicted = model.predict((test[0] - mean) / scale).argmax(axis=-1)
  return float((classes[predicted] == test[1]).mean())


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
  """Fits probes to k examples of each class, for several k.

  Args:
    train: features float [B, N] and labels int [B], from which examples are
      sampled without replacement.
    test: features float [B', N] and labels int [B'], all of which are used.
    shots: numbers k of examples of each class.
    draws: number of samples for each k, at most 10,000.
    seed: seed of the sampling. Equal seeds select the same examples, whatever
      the features.
    penalty: see `probe_accuracy`.

  Returns:
    k -> mean and standard deviation of the accuracy over the samples.

  Raises:
    ValueError: if a class has fewer than k examples.
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
        f'shots must be between 1 and {fewest}, the number of training '
        f'examples of the smallest class; got {k}.'
      )
  results = {}
  for k in shots:
    accuracies = []
    for draw in range(draws):
      rng = np.random.default_rng([seed, k, draw])
      rows = np.concatenate(
        [rng.choice(own, k, replace=False) for own in members]
      )
      sample = (train[0][rows], labels[rows])
      accuracies.append(probe_accuracy(sample, test, penalty=penalty))
    results[k] = (float(np.mean(accuracies)), float(np.std(accuracies)))
  return results
