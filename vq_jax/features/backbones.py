"""The convolutions of VGG16 and AlexNet, as LPIPS uses them."""

import functools
import os
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.features import inputs
from vq_jax.features import reading
from vq_jax.features import released

# Mean and standard deviation of ImageNet's pixels in [-1, 1].
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)


def _normalize(image: jax.Array, smallest: int) -> jax.Array:
  """Normalises pixels in [0, 1] as in the training of the networks."""
  shift, scale = (
    jnp.asarray(value, jnp.float32).reshape(1, 1, 1, 3)
    for value in (_SHIFT, _SCALE)
  )
  return (2 * inputs.rgb(image, smallest) - 1 - shift) / scale


def _max_pool(x: jax.Array, window: int) -> jax.Array:
  """Max pooling with stride 2 and without padding.

  It uses strided slices because the gradient of `nn.max_pool` is slow on a CPU.
  """
  h, w = ((size - window) // 2 + 1 for size in x.shape[1:3])
  parts = [
    x[:, i : i + 2 * h - 1 : 2, j : j + 2 * w - 1 : 2]
    for i in range(window)
    for j in range(window)
  ]
  return functools.reduce(jnp.maximum, parts)


class VGG16(nn.Module):
  """The convolutions of VGG16 (https://arxiv.org/abs/1409.1556, table 1, D).

  Attributes:
    channels: width of each of the five blocks.
    dtype: dtype of the computation.
  """

  channels: tuple[int, ...] = (64, 128, 256, 512, 512)
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, image: jax.Array) -> tuple[jax.Array, ...]:
    """Returns relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3.

    Args:
      image: float [B, H, W, 3 or 1] in [0, 1], H and W at least 16.

    Returns:
      [B, H / 2**i, W / 2**i, channels[i]], rounded down, for i = 0 ... 4.
    """
    x = _normalize(image, smallest=16)
    found: list[jax.Array] = []
    for width, layers in zip(self.channels, (2, 2, 3, 3, 3), strict=True):
      if found:
        x = _max_pool(x, 2)
      for _ in range(layers):
        x = nn.relu(nn.Conv(width, (3, 3), dtype=self.dtype)(x))
      found.append(x)
    return tuple(found)


class AlexNet(nn.Module):
  """The convolutions of torchvision's AlexNet (https://arxiv.org/abs/1404.5997).

  Attributes:
    channels: width of each of the five convolutions.
    dtype: dtype of the computation.
  """

  channels: tuple[int, ...] = (64, 192, 384, 256, 256)
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, image: jax.Array) -> tuple[jax.Array, ...]:
    """Returns the outputs of the five convolutions, after relu.

    Args:
      image: float [B, H, W, 3 or 1] in [0, 1], H and W at least 31.

    Returns:
      five arrays [B, h, w, channels[i]]; their strides are 4, 8, 16, 16, 16.
    """
    x = _normalize(image, smallest=31)
    found: list[jax.Array] = []
    for width, kernel in zip(self.channels, (11, 5, 3, 3, 3), strict=True):
      if len(found) in (1, 2):
        x = _max_pool(x, 3)
      x = nn.Conv(
        width,
        (kernel, kernel),
        strides=1 if found else 4,
        padding=kernel // 2 if found else 2,
        dtype=self.dtype,
      )(x)
      x = nn.relu(x)
      found.append(x)
    return tuple(found)


NETWORKS = {'lpips_vgg16': VGG16, 'lpips_alexnet': AlexNet}


def make(name: str) -> nn.Module:
  """Returns a network; see `vq_jax.features.make`."""
  return NETWORKS[name]()


def load(
  name: str, path: str | os.PathLike | None = None
) -> tuple[nn.Module, dict[str, Any]]:
  """Loads a network; see `vq_jax.features.load`."""
  network = make(name)
  tree = reading.numpy_tree(released.find(name, path))
  return network, {'params': tree[f'{type(network).__name__}_0']}


def load_heads(
  name: str, path: str | os.PathLike | None = None
) -> list[jax.Array]:
  """Loads the weights of channels of LPIPS v0.1.

  Args:
    name: 'lpips_vgg16' or 'lpips_alexnet'.
    path: see `released.find`.

  Returns:
    five arrays float32 [channels[i]], at least 0.
  """
  tree = reading.numpy_tree(released.find(name, path))
  heads = [tree[f'NetLinLayer_{i}']['Conv_0']['kernel'] for i in range(5)]
  return [head.reshape(-1) for head in heads]
