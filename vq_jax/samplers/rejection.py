"""Classifier rejection sampling: the best of many candidates are kept."""

import math
from collections.abc import Callable
from typing import Annotated

import numpy as np

from vq_jax.utils import fields

# Below this, one image would need more candidates than a request has keys.
_AcceptanceRate = Annotated[float, fields.Range(least=1e-5, most=1)]
_MAX_CANDIDATES = 2**24


def rejection_sample(
  generate: Callable[[int, np.ndarray], np.ndarray],
  score: Callable[[np.ndarray, np.ndarray], np.ndarray],
  labels: np.ndarray,
  acceptance_rate: float,
  *,
  batch_size: int,
) -> np.ndarray:
  """Samples candidates and keeps the best ones of each label.

  For a label that occurs n times, ceil(n / acceptance_rate) candidates are
  generated, and the n with the highest scores are kept. The papers use
  acceptance rates of 0.5, 0.05 and 0.005 (VQGAN, arXiv:2012.09841), 0.05
  (MaskGIT, arXiv:2202.04200) and 0.5 (ViT-VQGAN, arXiv:2110.04627), with the
  probability that a classifier gives to the label as the score. Only the kept
  images and one batch are in memory.

  Args:
    generate: (start, labels int [M]) -> images [M, ...] of the candidates start
      to start + M - 1. If each candidate depends on its own number alone, the
      result does not depend on the batch size.
    score: (images, labels) -> finite float [M]; higher is better.
    labels: int [num], one for each image to return; all the same for data
      without classes.
    acceptance_rate: in [1e-5, 1]; with 1 all candidates are kept, in order.
    batch_size: the largest number of candidates in a batch.

  Returns:
    [num, ...], one image for each label, in their order.

  Raises:
    ValueError: if an argument is out of range, or a score is not finite.
  """
  labels = _checked_labels(labels)
  batch_size = fields.check_value('batch_size', batch_size, fields.PositiveInt)
  candidates = candidate_labels(labels, acceptance_rate)
  rows = {label: np.flatnonzero(labels == label) for label in set(labels)}
  best = np.full(len(labels), -np.inf)
  kept: np.ndarray | None = None
  for start in range(0, len(candidates), batch_size):
    part = candidates[start : start + batch_size]
    images = np.asarray(generate(start, part))
    scores = _checked_scores(score(images, part), part)
    if kept is None:
      kept = np.zeros((len(labels), *images.shape[1:]), images.dtype)
    for image, label, value in zip(images, part, scores, strict=True):
      worst = rows[label][np.argmin(best[rows[label]])]
      if value > best[worst]:
        kept[worst], best[worst] = image, value
  assert kept is not None  # there are candidates
  return kept


def candidate_labels(labels: np.ndarray, acceptance_rate: float) -> np.ndarray:
  """Returns the labels of all candidates.

  The labels are repeated, in order, until each that occurs n times has
  ceil(n / acceptance_rate) candidates; so the labels of a batch are mixed.

  Args:
    labels: int [num], one for each image to return.
    acceptance_rate: in [1e-5, 1].

  Returns:
    int [M].

  Raises:
    ValueError: if the acceptance rate is out of range, or so small that there
      would be more than 2^24 candidates.
  """
  labels = _checked_labels(labels)
  acceptance_rate = fields.check_value(
    'acceptance_rate', acceptance_rate, _AcceptanceRate
  )
  if len(labels) / acceptance_rate > _MAX_CANDIDATES:
    raise ValueError(
      f'acceptance_rate must allow at most {_MAX_CANDIDATES} candidates; got '
      f'{acceptance_rate:g} for {len(labels)} images. Use a larger rate, or '
      'fewer images at a time.'
    )
  # Rounded, since the quotient of decimal fractions may lie slightly above a
  # whole number.
  needed = {
    label: math.ceil(round(n / acceptance_rate, 6))
    for label, n in zip(*np.unique(labels, return_counts=True), strict=True)
  }
  rounds = math.ceil(round(1 / acceptance_rate, 6))
  repeated = np.tile(labels, rounds)
  chosen = np.zeros(len(repeated), bool)
  for label, count in needed.items():
    chosen[np.flatnonzero(repeated == label)[:count]] = True
  return repeated[chosen]


def _checked_labels(labels: np.ndarray) -> np.ndarray:
  """Returns the labels; raises ValueError unless they are int [num]."""
  try:
    found = np.asarray(labels)
  except ValueError:  # a ragged list
    found = np.empty(0)
  if found.ndim != 1 or not found.size or found.dtype.kind not in 'iu':
    raise ValueError(
      'labels must be int [num], one for each image; got '
      f'{fields.format_value(labels)}.'
    )
  return found


def _checked_scores(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """Returns the scores; raises ValueError unless they are finite and fit."""
  scores = np.asarray(scores)
  if scores.shape != labels.shape or not np.isfinite(scores).all():
    raise ValueError(
      f'score must return a finite number for each of the {len(labels)} '
      f'images; got {scores.shape}, {np.isfinite(scores).sum()} finite.'
    )
  return scores
