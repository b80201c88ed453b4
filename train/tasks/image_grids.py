"""Image grids that an evaluation writes."""

import numpy as np

from train import datasets
from vq_jax import data
from vq_jax.model import Model
from vq_jax.utils import images

_MIN_WIDTH = 96  # pixels; smaller images are enlarged


def make_reconstruction_grid(
  model: Model, batches: data.EvalBatches, num: int
) -> np.ndarray:
  """Returns a grid of the first held-out images above their reconstructions.

  Args:
    model: encodes and decodes the images.
    batches: the held-out images.
    num: number of images.
  """
  image = datasets.first_images(batches, num)
  rows = images.stack_rows(image, model.reconstruct(image))
  return images.grid(rows, columns=len(image), scale=_get_scale(image))


def make_sample_grid(model: Model, num: int) -> np.ndarray:
  """Returns a grid of samples; a column holds one class, if there are any."""
  classes = model.vocab.num_classes if model.vocab else 0
  columns = min(classes, num) if classes > 1 else None
  samples = np.asarray(model.generate(0, num=num))
  return images.grid(samples, columns=columns, scale=_get_scale(samples))


def _get_scale(image: np.ndarray) -> int:
  return max(1, _MIN_WIDTH // image.shape[1])
