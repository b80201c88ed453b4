"""Perceptual losses: distances between features of a pretrained network.

All have one interface, `distance.apply(variables, image, reconstruction) ->
[B]`. Their variables are not trained; both images receive gradients. Under jit,
pass the variables as an argument: as constants they would be folded by XLA,
which makes compilation take minutes.
"""

import os
from typing import Any
from typing import Literal
from typing import TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax import features as features_lib
from vq_jax.losses import reconstruction as reconstruction_lib


class LPIPS(nn.Module):
  """The learned perceptual metric LPIPS, version 0.1.

    d = sum_l mean_hw w_l . (a_l - b_l)^2

  Here a_l and b_l are the features of both images in layer l, l2-normalised
  over channels, and w_l >= 0 was fitted to human judgements: Zhang et al. 2018,
  equation 1 (https://arxiv.org/abs/1801.03924). `init` sets all w_l to 1;
  `load_lpips` returns the fitted weights.

  Attributes:
    backbone: image -> list of features [B, h, w, C] of the layers.

  Example:
    >>> import flax.linen as nn
    >>> import jax
    >>> from vq_jax import losses
    >>> backbone = nn.Sequential([nn.Conv(4, (3, 3)), lambda x: [x]])
    >>> image = jax.numpy.ones((2, 8, 8, 3))
    >>> distance, _ = losses.LPIPS(backbone).init_with_output(
    ...   jax.random.key(0), image, image
    ... )
    >>> distance.tolist()
    [0.0, 0.0]
  """

  backbone: nn.Module

  @nn.compact
  def __call__(self, image: jax.Array, reconstruction: jax.Array) -> jax.Array:
    """Returns the distances, float32 [B].

    Args:
      image: float [B, H, W, 3 or 1] in [0, 1].
      reconstruction: float of the same shape; values may exceed the range.

    Raises:
      ValueError: if the shapes differ, or the backbone does not accept them.
    """
    reconstruction_lib.check_shapes(image, reconstruction)
    # Two calls: with one batch of both images, the gradient of one of them
    # would cost as much as the gradients of both.
    layers = zip(
      self.backbone(image), self.backbone(reconstruction), strict=True
    )
    total = jnp.zeros(len(image), jnp.float32)
    for i, (a, b) in enumerate(layers):
      head = self.param(
        f'head_{i}', nn.initializers.ones, a.shape[-1:], jnp.float32
      )
      difference = jnp.square(_l2_normalize(a) - _l2_normalize(b)).mean(
        axis=(1, 2)
      )
      total += (difference * jnp.expand_dims(head, 0)).sum(axis=-1)
    return total


class ClassifierDistance(nn.Module):
  """Mean squared distance between logits or features of a classifier.

  MAGVIT's tokenizers are trained with the logits of a ResNet-50, MaskGIT's with
  its pooled features (`perceptual_loss_on_logit` in their configs).

  Attributes:
    network: image -> (logits [B, classes], pooled features [B, D]).
    features: 'logits' or 'pooled' features.

  Example:
    >>> import flax.linen as nn
    >>> import jax
    >>> from vq_jax import losses
    >>> mean = lambda x: x.mean(axis=(1, 2))
    >>> network = nn.Sequential([mean, lambda x: (2 * x, x)])
    >>> distance = losses.ClassifierDistance(network, features='logits')
    >>> image = jax.numpy.ones((1, 8, 8, 3))
    >>> distance.apply({}, image, image - 0.5).tolist()
    [1.0]
  """

  network: nn.Module
  features: Literal['logits', 'pooled'] = 'logits'

  def __call__(self, image: jax.Array, reconstruction: jax.Array) -> jax.Array:
    """Returns the distances, float32 [B].

    Args:
      image: float [B, H, W, 3 or 1] in [0, 1].
      reconstruction: float of the same shape; values may exceed the range.

    Raises:
      ValueError: if the shapes differ, the network does not accept them, or
        `features` is unknown.
    """
    reconstruction_lib.check_shapes(image, reconstruction)
    if self.features not in ('logits', 'pooled'):
      raise ValueError(
        f"features must be 'logits' or 'pooled'; got {self.features!r}."
      )
    which = 0 if self.features == 'logits' else 1
    a, b = self.network(image)[which], self.network(reconstruction)[which]
    return jnp.square((a - b).astype(jnp.float32)).mean(axis=-1)


def load_lpips(
  net: str = 'vgg16',
  path: str | os.PathLike | None = None,
  *,
  abstract: bool = False,
) -> tuple[LPIPS, dict[str, Any]]:
  """Loads LPIPS v0.1.

  Args:
    net: 'vgg16', with which VQGAN is trained, or 'alexnet', which the authors
      of LPIPS recommend for evaluation.
    path: file with the weights; see `vq_jax.features.load` for the default.
    abstract: whether the variables are shapes (`jax.ShapeDtypeStruct`), for
      which no file is read.

  Returns:
    the module and its variables.

  Raises:
    MissingWeights: if there is no such file; the message says how to get it.
    OSError: if `path` cannot be read.
    ValueError: if the net is unknown, or the checksum of the file is wrong.
  """
  if net not in ('vgg16', 'alexnet'):
    raise ValueError(f"net must be 'vgg16' or 'alexnet'; got {net!r}.")
  if abstract:
    return _with_shapes(LPIPS(features_lib.make(f'lpips_{net}')))
  backbone, variables = features_lib.load(f'lpips_{net}', path)
  heads = features_lib.load_heads(f'lpips_{net}', path)
  params = {f'head_{i}': jnp.asarray(head) for i, head in enumerate(heads)}
  params['backbone'] = variables['params']
  return LPIPS(backbone), {'params': params}


def load_classifier_distance(
  name: str = 'efficientnet_lite0',
  path: str | os.PathLike | None = None,
  features: Literal['logits', 'pooled'] = 'logits',
  *,
  abstract: bool = False,
) -> tuple[ClassifierDistance, dict[str, Any]]:
  """Loads a `ClassifierDistance` with a pretrained network.

  Args:
    name: 'efficientnet_lite0' or 'efficientnet_lite2'.
    path: file with the weights; see `vq_jax.features.load` for the default.
    features: see `ClassifierDistance`.
    abstract: see `load_lpips`.

  Returns:
    the module and its variables.

  Raises:
    MissingWeights: if there is no such file; the message says how to get it.
    OSError: if `path` cannot be read.
    ValueError: if the network is unknown, or the checksum of the file is wrong.
  """
  if abstract:
    return _with_shapes(ClassifierDistance(features_lib.make(name), features))
  network, variables = features_lib.load(name, path)
  return ClassifierDistance(network, features), {
    'params': {'network': variables['params']}
  }


_Module = TypeVar('_Module', bound=nn.Module)


def _with_shapes(module: _Module) -> tuple[_Module, dict[str, Any]]:
  """Returns a distance, and the shapes of its variables."""
  image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
  return module, jax.eval_shape(module.init, jax.random.key(0), image, image)


def _l2_normalize(x: jax.Array) -> jax.Array:
  """Returns x / (|x| + 1e-10) along the last axis, in float32.

  The gradient is finite where x = 0, unlike that of the square root.
  """
  x = x.astype(jnp.float32)
  square = jnp.square(x).sum(axis=-1, keepdims=True)
  positive = square > 0
  norm = jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1)), 0)
  return x / (norm + 1e-10)
