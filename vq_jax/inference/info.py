"""Records of what inference needs: facts about a run, and its modules."""

import dataclasses
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import flax.linen as nn

from vq_jax import priors
from vq_jax import samplers
from vq_jax.data import preprocessing
from vq_jax.utils import fields


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingData:
  """The data set that a run was trained on.

  Attributes:
    source: the source; see `vq_jax.data.open_source`.
    train_split: the split for training.
    eval_split: the split for evaluation.
    data_dir: the folder of the data sets of TFDS; None for its default.
    preprocess: the preprocessing of training, which may be random.

  Example:
    >>> from vq_jax import inference
    >>> inference.TrainingData(source='tfds:mnist').train_split
    'train'
  """

  source: str
  train_split: str = 'train'
  eval_split: str = 'test'
  data_dir: str | None = None
  preprocess: tuple[preprocessing.Preprocess, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelInfo:
  """Facts about a model that its modules do not hold.

  Attributes:
    image_shape: (H, W, C) of the images that it was trained on.
    class_names: the names of the classes of its data, by number.
    data: the data set that it was trained on.
    preprocess: the preprocessing of evaluation, which is not random.
    levels: the number of token grids of its autoencoder; 0 for an AE or VAE.
    sampler: the sampler of the run's config; None without a prior.

  Example:
    >>> from vq_jax import inference
    >>> info = inference.ModelInfo(
    ...   image_shape=(8, 8, 3), class_names=('cat', 'dog'),
    ...   data=inference.TrainingData(source='folder:pets'))
    >>> info.image_shape
    (8, 8, 3)
  """

  image_shape: tuple[int, int, int]
  class_names: tuple[str, ...]
  data: TrainingData
  preprocess: tuple[preprocessing.Preprocess, ...] = ()
  levels: int = 0
  sampler: samplers.Sampler | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Level:
  """The prior of one token grid, and how it is sampled.

  Attributes:
    prior: Flax module, tokens -> logits.
    variables: its variables.
    sampler: the sampler.
    critic: a token critic for the order 'critic', if there is one.
    critic_variables: its variables.
  """

  prior: priors.Prior
  variables: Mapping[str, Any]
  sampler: samplers.Sampler
  critic: priors.TokenCritic | None = None
  critic_variables: Mapping[str, Any] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pipeline:
  """All parts that turn random keys into images.

  Attributes:
    autoencoder: Flax module, images <-> tokens.
    variables: its variables.
    levels: the priors of its token grids, the parent level first.
    info: facts about the model.
  """

  autoencoder: nn.Module
  variables: Mapping[str, Any]
  levels: tuple[Level, ...]
  info: ModelInfo

  def __post_init__(self):
    if len(self.levels) < self.info.levels:
      level = len(self.levels) - 1
      raise ValueError(
        f'this run is the prior of level {level} of {self.info.levels}, and an '
        'image needs all levels. Train the next one, with this run as its '
        f'parent and --config.level={level + 1}, and use the last.'
      )

  def with_sampler(
    self, sampler: samplers.Sampler | Sequence[samplers.Sampler]
  ) -> 'Pipeline':
    """Returns the pipeline with other samplers.

    Args:
      sampler: one sampler for all levels, or a sequence of one for each.

    Raises:
      ValueError: if it is neither.
    """
    given = sampler if isinstance(sampler, tuple | list) else [sampler]
    given = list(given) * len(self.levels) if len(given) == 1 else given
    fits = all(isinstance(each, samplers.TokenSampler) for each in given)
    if not fits or len(given) != len(self.levels):
      raise ValueError(
        'sampler must be a MaskGITSampler or an AutoregressiveSampler, or one '
        f'for each of the {len(self.levels)} level(s); got '
        f'{fields.format_value(sampler)}.'
      )
    levels = [
      dataclasses.replace(level, sampler=each)
      for level, each in zip(self.levels, given, strict=True)
    ]
    return dataclasses.replace(self, levels=tuple(levels))

  @property
  def num_classes(self) -> int:
    """The number of classes of the last prior; 0 without classes."""
    return self.levels[-1].prior.vocab.num_classes

  @property
  def grids(self) -> list[tuple[int, int]]:
    """(h, w) of the latents of each level, for images of the training size."""
    height, width, _ = self.info.image_shape
    grids = self.autoencoder.token_grids[: len(self.levels)]
    return [grid.shape(height, width)[:2] for grid in grids]
