"""Classifier rejection: more images than asked for, of which the best stay."""

import math
from collections.abc import Callable
from typing import Annotated

import numpy as np

from vq_jax.utils import fields

# Of a smaller fraction the candidates would outnumber the keys of a request.
_Acceptance = Annotated[float, fields.Range(least=1e-5, most=1)]
_MOST = 2**24


def rejection_sample(
  generate: Callable[[int, np.ndarray], np.ndarray],
  score: Callable[[np.ndarray, np.ndarray], np.ndarray],
  labels: np.ndarray,
  acceptance: float,
  *,
  batch_size: int,
) -> np.ndarray:
  """Draws candidates and keeps the best of each label.

  Of a label that is asked for n times, ceil(n / acceptance) candidates are
  drawn, and the n with the highest scores are kept. The papers accept 0.5, 0.05
  and 0.005 (VQGAN), 0.05 (MaskGIT) and 0.5 (ViT-VQGAN), and score by how sure a
  classifier is of the label. Memory holds what is kept and one batch.

  Args:
    generate: (start, labels int [M]) -> images [M, ...] of the candidates start
      to start + M - 1. If it draws each by its own number, the result does not
      depend on the batch size.
    score: (images, labels) -> finite float [M], the higher the better.
    labels: int [num], one for each image wanted; all the same if there are no
      classes.
    acceptance: in [1e-5, 1]; at 1 all candidates are kept, in order.
    batch_size: the most candidates at a time.

  Returns:
    [num, ...], one image for each label, in their order.

  Raises:
    ValueError: if an argument is out of range, or a score is not finite.
  """
  labels = _checked_labels(labels)
  batch_size = fields.check_value('batch_size', batch_size, fields.PositiveInt)
  candidates = candidate_labels(labels, acceptance)
  places = {label: np.flatnonzero(labels == label) for label in set(labels)}
  best = np.full(len(labels), -np.inf)  # of no candidate yet
  kept = None
  for start in range(0, len(candidates), batch_size):
    part = candidates[start : start + batch_size]
    images = np.asarray(generate(start, part))
    scores = _checked_scores(score(images, part), part)
    if kept is None:
      kept = np.zeros((len(labels), *images.shape[1:]), images.dtype)
    for image, label, value in zip(images, part, scores, strict=True):
      worst = places[label][np.argmin(best[places[label]])]
      if value > best[worst]:
        kept[worst], best[worst] = image, value
  return kept


def candidate_labels(labels: np.ndarray, acceptance: float) -> np.ndarray:
  """Returns the labels of all candidates, int [M].

  The labels asked for, again and again, each until ceil(n / acceptance) of it
  are there, so that each batch is mixed as they are.

  Args:
    labels: int [num], one for each image wanted.
    acceptance: in [1e-5, 1].

  Raises:
    ValueError: if the acceptance is out of range, or so small that there would
      be more candidates than keys of a request.
  """
  labels = _checked_labels(labels)
  acceptance = fields.check_value('acceptance', acceptance, _Acceptance)
  if len(labels) / acceptance > _MOST:
    raise ValueError(
      f'acceptance must leave at most {_MOST} candidates to be drawn; got '
      f'{acceptance:g} for {len(labels)} images. Accept more, or ask for fewer '
      'images at a time.'
    )
  # Of decimal fractions the quotient may lie a rounding error above.
  wanted = {
    label: math.ceil(round(n / acceptance, 6))
    for label, n in zip(*np.unique(labels, return_counts=True), strict=True)
  }
  rounds = math.ceil(round(1 / acceptance, 6))
  repeated = np.tile(labels, rounds)
  chosen = np.zeros(len(repeated), bool)
  for label, count in wanted.items():
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
      f'{fields.shown(labels)}.'
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
