"""Loading of a pretrained network by its name."""

import os
import types
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.features import backbones
from vq_jax.features import efficientnet


def load(
  name: str, path: str | os.PathLike | None = None
) -> tuple[nn.Module, dict[str, Any]]:
  """Loads a released network.

  Args:
    name: 'lpips_vgg16' (`VGG16`), 'lpips_alexnet' (`AlexNet`),
      'efficientnet_lite0' or 'efficientnet_lite2' (`EfficientNetLite`).
      `load_classifier_text` and `load_minilm` load the other releases.
    path: file with the weights; by default see `released.find`.

  Returns:
    the module and its variables.

  Raises:
    MissingWeights: if there is no such file; the message says how to get it.
    OSError: if `path` cannot be read.
    ValueError: if the name is unknown, or the checksum of the file is wrong.
  """
  network, variables = _get_module(name).load(name, path)
  return network, jax.tree.map(jnp.asarray, variables)


def make(name: str) -> nn.Module:
  """Returns a network without its weights; see `load`.

  Raises:
    ValueError: if the name is unknown.

  Example:
    >>> from vq_jax import features
    >>> type(features.make('lpips_vgg16')).__name__
    'VGG16'
  """
  return _get_module(name).make(name)


def _get_module(name: str) -> types.ModuleType:
  """Returns the module that defines a network."""
  for module in (backbones, efficientnet):
    if name in module.NETWORKS:
      return module
  valid = ', '.join([*backbones.NETWORKS, *efficientnet.NETWORKS])
  raise ValueError(f'unknown network {name!r}. Valid: {valid}.')
