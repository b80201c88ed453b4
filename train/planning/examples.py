"""What a plan must know of the examples, without the data."""

import dataclasses
from typing import Any

import numpy as np

from vq_jax import data
from vq_jax.config import registry
from vq_jax.config import schema
from vq_jax.data import preprocessing
from vq_jax.data import tfds_source
from vq_jax.data import tokens as tokens_lib
from vq_jax.utils import packages

# Data sets of TFDS: training examples, classes, and the shape of all images.
_TFDS = {
  'imagenet2012': (1_281_167, 1000, None),
  'cifar10': (50_000, 10, (32, 32, 3)),
  tfds_source.EMBEDDED: (10_000, 10, (28, 28, 1)),
}
# Sizes that no preprocessing would leave as they are.
_SIZES = ((1301, 907), (1409, 1511))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Examples:
  """What is known of the training examples.

  Attributes:
    image_shape: (H, W, C).
    num_classes: number of classes; 1 without labels.
    number: number of training examples; None if it is not known.
    tokens: whether they are tokens, not images.
  """

  image_shape: tuple[int, int, int]
  num_classes: int
  number: int | None
  tokens: bool = False

  def to_facts(self) -> dict[str, Any]:
    """Returns the section `dataset` of a `config.json`."""
    return {
      'image_shape': list(self.image_shape),
      'num_classes': self.num_classes,
      'class_names': [str(i) for i in range(self.num_classes)],
    }


def describe(
  config: schema.DataConfig,
  *,
  number: int | None = None,
  num_classes: int | None = None,
) -> Examples | None:
  """Returns what is known of the training examples; nothing is downloaded.

  Args:
    config: the config section `data`.
    number: the number of examples, where it is known better.
    num_classes: the number of classes, where it is known better.

  Returns:
    the examples; None if they are tokens that are not there.

  Raises:
    ConfigError: if images have no shape of their own, and the preprocessing
      gives them none.
  """
  kind, _, name = config.source.partition(':')
  shape = None
  found_number, found_classes = None, 1
  if kind == 'tokens':
    try:
      record = tokens_lib.read_record(name)
    except data.DataError:
      return None
    shape, found_classes = record['image_shape'], len(record['class_names'])
  elif kind == 'tfds' and name in _TFDS:
    found_number, found_classes, shape = _TFDS[name]
  if kind not in ('tokens', 'tfds') or name == tfds_source.EMBEDDED:
    try:
      source = data.open_source(
        config.source, config.train_split, channels=config.channels
      )
    except (data.DataError, packages.MissingPackageError):
      source = None
    if source is not None:
      found_number, found_classes = len(source), source.num_classes
      shape = source.image_shape
  return Examples(
    image_shape=(
      tuple(shape) if kind == 'tokens' else _get_image_shape(config, shape)
    ),
    num_classes=num_classes or found_classes,
    number=number or found_number,
    tokens=kind == 'tokens',
  )


def _get_image_shape(
  config: schema.DataConfig, shape: tuple[int, int, int] | None
) -> tuple[int, int, int]:
  """Returns the shape of images after preprocessing.

  Args:
    config: the config section `data`.
    shape: (H, W, C) of all images before it; None if they differ.

  Raises:
    ConfigError: if the preprocessing leaves images of different shapes.
  """
  channels = config.channels or (shape[-1] if shape else 3)
  sizes = [shape[:2]] if shape else _SIZES
  steps = registry.preprocess(config.eval_preprocess)
  shapes = {
    preprocessing.apply(
      steps,
      np.zeros((*size, channels), np.uint8),
      np.random.default_rng(0),
    ).shape
    for size in sizes
  }
  if len(shapes) > 1:
    raise schema.ConfigError(
      f'the shape of the images of {config.source} is not known without the '
      'data: config.data.eval_preprocess must give all of them one shape.'
    )
  (found,) = shapes
  return found
