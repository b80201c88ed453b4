"""Extractors of features for the metrics of sets of images."""

import collections
import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vq_jax.features import resizing
from vq_jax.utils import compilation
from vq_jax.utils import devices

# Each network is compiled for a few sizes of batches, powers of two.
_LARGEST_BATCH = 64
_PARTS_ON_DEVICES = 2
_Part = tuple[int, dict[str, jax.Array]]  # number of images, and their features


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureExtractor:
  """Maps images to features for the metrics of sets of images.

  Numbers of different extractors are not comparable, so each number is reported
  with the name, the checksum and the resizer.

  Attributes:
    name: name of the network, such as 'inception'.
    checksum: SHA-256 of its weights; None if there are none. Features in files
      are used again for an extractor of the same name, checksum and resizer.
    resizer: how images are resized, see `resizing.resize`.
    outputs: names of the features, of 'pooled', 'spatial' and 'logits'.
    resize: maps images uint8 [B, H, W, 3] to float32 [B, H', W', 3] in [0, 255]
      of the size that the network takes.
    apply: maps resized images to features; name -> float32 [B, D].

  Example:
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> from vq_jax import features
    >>> extractor = features.FeatureExtractor(
    ...   name='mean colour',
    ...   checksum=None,
    ...   resizer='none',
    ...   outputs=('pooled',),
    ...   resize=lambda images: images.astype(np.float32),
    ...   apply=lambda images: {'pooled': images.mean((1, 2))},
    ... )
    >>> extractor(np.full((5, 8, 8, 1), 7, np.uint8))['pooled'].shape
    (5, 3)
  """

  name: str
  checksum: str | None
  resizer: str
  outputs: tuple[str, ...]
  resize: Callable[[np.ndarray], np.ndarray]
  apply: Callable[[jax.Array], dict[str, jax.Array]]

  def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
    """Computes features, on all devices of this process.

    Args:
      images: uint8 [B, H, W, 3 or 1], B at least 1.

    Returns:
      name -> float32 [B, D], for all names of `outputs`.

    Raises:
      ValueError: if the images have another dtype or shape, or a size that the
        resizer 'none' refuses.
    """
    return self.start(images)()

  def start(self, images: np.ndarray) -> Callable[[], dict[str, np.ndarray]]:
    """Resizes images and starts to compute their features.

    The caller can prepare the next images while the devices compute. Of a large
    batch, only two parts of 64 images are on the devices at once.

    Args:
      images: see `__call__`.

    Returns:
      a function that waits for the features and returns them.

    Raises:
      ValueError: see `__call__`.
    """
    _check(images)
    images = np.repeat(images, 3 // images.shape[-1], axis=-1)
    running: collections.deque[_Part] = collections.deque()
    done: list[dict[str, np.ndarray]] = []
    for i in range(0, len(images), _LARGEST_BATCH):
      part = images[i : i + _LARGEST_BATCH]
      running.append((len(part), self._dispatch(part)))
      if len(running) > _PARTS_ON_DEVICES - 1:
        done.append(self._collect(*running.popleft()))

    def finish() -> dict[str, np.ndarray]:
      while running:
        done.append(self._collect(*running.popleft()))
      return {
        name: np.concatenate([part[name] for part in done])
        for name in self.outputs
      }

    return finish

  def _dispatch(self, images: np.ndarray) -> dict[str, jax.Array]:
    """Starts to compute the features of at most `_LARGEST_BATCH` images."""
    resized = self.resize(images)
    sharding = devices.batch_sharding()
    size = devices.round_up(1 << (len(images) - 1).bit_length(), sharding)
    rows = np.minimum(np.arange(size), len(images) - 1)
    return self.apply(jax.device_put(resized[rows], sharding))

  def _collect(
    self, count: int, found: dict[str, jax.Array]
  ) -> dict[str, np.ndarray]:
    """Waits for the features of a part, without those that fill it up."""
    return {
      name: np.asarray(found[name], np.float32)[:count] for name in self.outputs
    }


def from_network(
  network: nn.Module,
  variables: dict[str, Any],
  forward: Callable[..., dict[str, jax.Array]],
  *,
  name: str,
  checksum: str | None,
  size: tuple[int, int],
  resizer: resizing.Resizer,
) -> FeatureExtractor:
  """Makes an extractor of a module, which is computed in full float32.

  Args:
    network: the module.
    variables: its variables.
    forward: (module, variables, images float32 [B, H, W, 3] in [0, 255]) ->
      features by name, float32 [B, D].
    name: see `FeatureExtractor`.
    checksum: see `FeatureExtractor`.
    size: (H, W) of the images that the network takes.
    resizer: see `resizing.resize`.

  Returns:
    the extractor.
  """
  sharding = devices.batch_sharding()
  if sharding is not None:
    everywhere = jax.sharding.NamedSharding(
      sharding.mesh, jax.sharding.PartitionSpec()
    )
    variables = jax.device_put(variables, everywhere)

  @compilation.jit
  def compute(variables, images):
    # Otherwise GPUs and TPUs multiply in TF32 or bfloat16, which changes the
    # features, and the distances with them.
    with jax.default_matmul_precision('float32'):
      return forward(network, variables, images)

  apply = functools.partial(compute, variables)
  image = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
  return FeatureExtractor(
    name=name,
    checksum=checksum,
    resizer=resizer,
    outputs=tuple(jax.eval_shape(apply, image)),
    resize=functools.partial(resizing.resize, size=size, resizer=resizer),
    apply=apply,
  )


def _check(images: np.ndarray) -> None:
  if images.dtype != np.uint8:
    raise ValueError(
      f'images must be uint8 in [0, 255]; got {images.dtype}. '
      'vq_jax.utils.images.to_uint8 converts floats in [0, 1].'
    )
  if (
    images.ndim != 4 or images.shape[-1] not in (1, 3) or not min(images.shape)
  ):
    raise ValueError(
      'images must be [B, H, W, 3] or [B, H, W, 1], at least one and of at '
      f'least one pixel; got {images.shape}.'
    )
