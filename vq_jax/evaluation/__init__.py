"""Evaluation of runs and of sets of images."""

from vq_jax.evaluation import accuracy_score
from vq_jax.evaluation import classifier
from vq_jax.evaluation import plots
from vq_jax.evaluation import sweep
from vq_jax.evaluation.accuracy_score import AccuracyScore
from vq_jax.evaluation.accuracy_score import classification_accuracy_score

__all__ = [
  'AccuracyScore',
  'accuracy_score',
  'classification_accuracy_score',
  'classifier',
  'plots',
  'sweep',
]
