"""Checks that a network fits the data and the networks that it learns from."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import numpy as np

from vq_jax import data
from vq_jax.config import schema
from vq_jax.model import Model
from vq_jax.runs import export as export_lib


def check_output(module: nn.Module, image_shape: Sequence[int]) -> None:
  """Checks that an autoencoder's images have the shape of the data's images.

  Nothing is computed.

  Args:
    module: the autoencoder.
    image_shape: (H, W, C) of the data.

  Raises:
    ConfigError: if they have not.
  """
  image = jax.ShapeDtypeStruct((1, *image_shape), np.float32)
  try:
    (reconstruction, *_), _ = jax.eval_shape(
      module.init_with_output, jax.random.key(0), image
    )
  except ValueError as error:  # a part of it refuses the shape
    raise schema.ConfigError(
      f'config.model does not fit images {tuple(image_shape)} of the data: '
      f'{str(error).splitlines()[0]}'
    ) from error
  found = tuple(reconstruction.shape[1:])
  if found != tuple(image_shape):
    raise schema.ConfigError(
      f'the data gives images {tuple(image_shape)}, and the decoder '
      f'(config.model) makes images {found}. Set its channels (out_channels, '
      'or image_channels) or config.data.channels, and the preprocessing.'
    )


def check_image_shape(tokenizer: Model, image_shape: Sequence[int]) -> None:
  """Checks that the data's images have the shape of the tokenizer's images.

  Args:
    tokenizer: the autoencoder whose tokens a prior learns.
    image_shape: (H, W, C) of the data.

  Raises:
    ConfigError: if they have not.
  """
  want = tokenizer.info.image_shape
  if tuple(image_shape) != want:
    raise schema.ConfigError(
      f'the autoencoder was trained on images {want}, but the data gives '
      f'{tuple(image_shape)}. Use the same config.data.channels and '
      'preprocessing.'
    )


def check_tokens(tokenizer: Model, source: data.Source) -> None:
  """Checks that tokens on disk were made by the tokenizer of a prior.

  Args:
    tokenizer: the autoencoder whose tokens a prior learns.
    source: the training examples; nothing is checked if they are images.

  Raises:
    ConfigError: if they were made by another autoencoder.
  """
  if not isinstance(source, data.TokenSource):
    return
  made_by = source.record['tokenizer']
  own = export_lib.fingerprint(tokenizer)
  if made_by != own:
    raise schema.ConfigError(
      f'{source.name} was made by another tokenizer ({made_by[:12]}) than '
      f'config.autoencoder ({own[:12]}). Give the run that made the tokens, or '
      'make them anew with: vqjax tokenize'
    )


def check_parent(
  parent: Model, tokenizer: Model, level: int, name: str
) -> None:
  """Checks that a prior fits the prior of the parent level.

  Args:
    parent: the prior of the parent level.
    tokenizer: the autoencoder whose tokens the prior learns.
    level: level of the prior.
    name: run folder of the parent, for errors.

  Raises:
    ConfigError: if the parent has another level or another autoencoder.
  """
  found = parent.level
  if found != level - 1:
    raise schema.ConfigError(
      f'config.parent_prior must be the prior of level {level - 1}; {name} is '
      f'that of level {found}.'
    )
  if export_lib.fingerprint(parent) != export_lib.fingerprint(tokenizer):
    raise schema.ConfigError(
      f'{name} was trained on the tokens of another autoencoder than '
      'config.autoencoder.'
    )


def have_same_classes(first: Sequence[str], second: Sequence[str]) -> bool:
  """Returns whether two lists name the same classes in the same order.

  Names that are only numbers, as of released weights, agree with any others.
  """
  numbers = [str(i) for i in range(len(first))]
  either = list(first) == numbers or list(second) == numbers
  return len(first) == len(second) and (either or list(first) == list(second))
