"""Evaluation of models and of sets of images, with numbers to be quoted.

`evaluate_generation` compares the images that a prior generates with real ones,
`evaluate_reconstruction` images with their reconstructions, and
`compare_image_sets` two folders. One pass over the images writes their features
to files, so memory does not grow with the number of images, and a pass that is
stopped can be resumed. Each number is a `Result` with all that it depends on.
"""

from vq_jax.evaluation import accuracy_score
from vq_jax.evaluation import adm_files
from vq_jax.evaluation import classifier
from vq_jax.evaluation import metric_table
from vq_jax.evaluation import plots
from vq_jax.evaluation import sweep
from vq_jax.evaluation.accuracy_score import AccuracyScore
from vq_jax.evaluation.accuracy_score import classification_accuracy_score
from vq_jax.evaluation.choosing import UnavailableMetricWarning
from vq_jax.evaluation.comparison import compare_image_sets
from vq_jax.evaluation.generation import GeneratedImages
from vq_jax.evaluation.generation import evaluate_generation
from vq_jax.evaluation.image_sets import ImageSet
from vq_jax.evaluation.image_sets import SourceImages
from vq_jax.evaluation.options import EvaluationOptions
from vq_jax.evaluation.reconstruction import Reconstructions
from vq_jax.evaluation.reconstruction import evaluate_reconstruction
from vq_jax.evaluation.records import Record
from vq_jax.evaluation.records import Result
from vq_jax.evaluation.references import open_images
from vq_jax.evaluation.references import open_reference
from vq_jax.evaluation.saving import Save

__all__ = [
  'AccuracyScore',
  'EvaluationOptions',
  'GeneratedImages',
  'ImageSet',
  'Record',
  'Reconstructions',
  'Result',
  'Save',
  'SourceImages',
  'UnavailableMetricWarning',
  'accuracy_score',
  'adm_files',
  'classification_accuracy_score',
  'classifier',
  'compare_image_sets',
  'evaluate_generation',
  'evaluate_reconstruction',
  'metric_table',
  'open_images',
  'open_reference',
  'plots',
  'sweep',
]
