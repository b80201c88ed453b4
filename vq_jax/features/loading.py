"""A pretrained network by its name."""

import os
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.features import backbones
from vq_jax.features import efficientnet
from vq_jax.features import released


def load(
  name: str, path: str | os.PathLike | None = None
) -> tuple[nn.Module, dict[str, Any]]:
  """Loads a released network.

  Args:
    name: 'lpips_vgg16' (`VGG16`), 'lpips_alexnet' (`AlexNet`),
      'efficientnet_lite0' or 'efficientnet_lite2' (`EfficientNetLite`).
    path: its file; looked for by default, see `released.find`.

  Returns:
    The module, and the variables that its `apply` takes.

  Raises:
    MissingWeights: if the weights are not here, with how to get them.
    OSError: if `path` cannot be read.
    ValueError: if there is no such name, or the file has another checksum.
  """
  released.lookup(name)
  room = backbones if name in backbones.NETWORKS else efficientnet
  network, variables = room.load(name, path)
  return network, jax.tree.map(jnp.asarray, variables)
