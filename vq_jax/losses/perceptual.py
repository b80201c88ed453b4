"""Distances between images as a trained network sees them.

All are called alike, so that a trainer takes any of them:
`distance.apply(variables, image, reconstruction) -> [B]`. Nothing in them is to
be trained, and gradients reach both images. Under jit the variables should be
an argument: XLA computes with constants while it compiles, for minutes.
"""

import os
from typing import Any
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax import features
from vq_jax.losses import reconstruction as reconstruction_lib


class LPIPS(nn.Module):
  """How different two images look to people (Zhang et al. 2018, eq. 1; v0.1).

  d = sum_l mean_hw w_l . (a_l - b_l)**2, where a_l and b_l are the features of
  the two images in layer l, each of length 1 at each place, and w_l >= 0 was
  fitted to what people said. Initialised, w_l is 1: the same distance unfitted.

  Attributes:
    backbone: image -> features of each layer, [B, h, w, C].
  """

  backbone: nn.Module

  @nn.compact
  def __call__(self, image: jax.Array, reconstruction: jax.Array) -> jax.Array:
    """Returns the distances, float32 [B].

    Args:
      image: float [B, H, W, 3 or 1] in [0, 1].
      reconstruction: of the same shape; it may leave the range.

    Raises:
      ValueError: if the shapes differ, or the backbone refuses them.
    """
    reconstruction_lib.check_shapes(image, reconstruction)
    # One by one: as one batch, the gradient of one would cost that of both.
    layers = zip(
      self.backbone(image), self.backbone(reconstruction), strict=True
    )
    total = jnp.zeros(len(image), jnp.float32)
    for i, (a, b) in enumerate(layers):
      head = self.param(
        f'head_{i}', nn.initializers.ones, a.shape[-1:], jnp.float32
      )
      difference = jnp.square(_unit(a) - _unit(b)).mean(axis=(1, 2))
      total += (difference * jnp.expand_dims(head, 0)).sum(axis=-1)
    return total


class ClassifierDistance(nn.Module):
  """Mean squared difference between what a classifier makes of two images.

  MAGVIT's tokenizers are trained with that of a ResNet-50's logits, and
  MaskGIT's with that of its pooled features under them (`perceptual_loss_on_
  logit` of their configs). It sees what tells classes apart, and little else.

  Attributes:
    network: image -> (logits [B, classes], pooled features [B, D]).
    on: 'logits' or 'pooled' features.
  """

  network: nn.Module
  on: Literal['logits', 'pooled'] = 'logits'

  def __call__(self, image: jax.Array, reconstruction: jax.Array) -> jax.Array:
    """Returns the distances, float32 [B].

    Args:
      image: float [B, H, W, 3 or 1] in [0, 1].
      reconstruction: of the same shape; it may leave the range.

    Raises:
      ValueError: if the shapes differ, the network refuses them, or `on` is
        neither.
    """
    reconstruction_lib.check_shapes(image, reconstruction)
    if self.on not in ('logits', 'pooled'):
      raise ValueError(f"on must be 'logits' or 'pooled'; got {self.on!r}.")
    which = 0 if self.on == 'logits' else 1
    a, b = self.network(image)[which], self.network(reconstruction)[which]
    return jnp.square((a - b).astype(jnp.float32)).mean(axis=-1)


def load_lpips(
  net: str = 'vgg16', path: str | os.PathLike | None = None
) -> tuple[LPIPS, dict[str, Any]]:
  """Loads LPIPS v0.1.

  Args:
    net: 'vgg16', which VQGAN is trained with, or 'alexnet', which its authors
      advise for evaluation.
    path: its file; looked for by default.

  Returns:
    The module, and the variables that its `apply` takes.

  Raises:
    MissingWeights: if the weights are not here, with how to get them.
    OSError: if `path` cannot be read.
    ValueError: if there is no such net, or the file has another checksum.
  """
  if net not in ('vgg16', 'alexnet'):
    raise ValueError(f"net must be 'vgg16' or 'alexnet'; got {net!r}.")
  backbone, variables = features.load(f'lpips_{net}', path)
  heads = features.load_heads(f'lpips_{net}', path)
  params = {f'head_{i}': jnp.asarray(head) for i, head in enumerate(heads)}
  params['backbone'] = variables['params']
  return LPIPS(backbone), {'params': params}


def load_classifier_distance(
  name: str = 'efficientnet_lite0',
  path: str | os.PathLike | None = None,
  on: Literal['logits', 'pooled'] = 'logits',
) -> tuple[ClassifierDistance, dict[str, Any]]:
  """Loads a classifier to measure distances with.

  Args:
    name: 'efficientnet_lite0' or 'efficientnet_lite2'.
    path: its file; looked for by default.
    on: see `ClassifierDistance`.

  Returns:
    The module, and the variables that its `apply` takes.

  Raises:
    MissingWeights: if the weights are not here, with how to get them.
    OSError: if `path` cannot be read.
    ValueError: if there is no such network, or the file has another checksum.
  """
  network, variables = features.load(name, path)
  return ClassifierDistance(network, on), {
    'params': {'network': variables['params']}
  }


def _unit(x: jax.Array) -> jax.Array:
  """Returns x / (|x| + 1e-10) along the last axis, in float32.

  The gradient is finite where x = 0, which the square root's is not.
  """
  x = x.astype(jnp.float32)
  square = jnp.square(x).sum(axis=-1, keepdims=True)
  positive = square > 0
  norm = jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1)), 0)
  return x / (norm + 1e-10)
