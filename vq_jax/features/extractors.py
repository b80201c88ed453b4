"""Extractors of features for the metrics of sets of images."""

import dataclasses
import functools
import hashlib
import os
import pathlib
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vq_jax.features import clip_loading
from vq_jax.features import efficientnet
from vq_jax.features import inception
from vq_jax.features import inception_loading
from vq_jax.features import released
from vq_jax.features import resizing
from vq_jax.utils import cpu
from vq_jax.utils import devices

# Each network is compiled for a few sizes of batches, powers of two.
_LARGEST_BATCH = 64
_STAND_IN = (
  'Without these weights, efficientnet_lite0 is a stand-in (`--features '
  'efficientnet_lite0`); its numbers are not comparable with published ones.'
)
# The CLIP of CMMD (https://arxiv.org/abs/2401.09603).
_CLIP = 'ViT-L/14@336px'
_VALID = ', '.join(
  ('inception', *efficientnet.NETWORKS, 'clip', 'clip:PATH-OR-NAME')
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureExtractor:
  """Maps images to features for the metrics of sets of images.

  Numbers of different extractors are not comparable, so each number is reported
  with the name, the checksum and the resizer.

  Attributes:
    name: name of the network, such as 'inception'.
    checksum: SHA-256 of its weights; None if they are in no file.
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
    _check(images)
    images = np.repeat(images, 3 // images.shape[-1], axis=-1)
    parts = [
      self._compute(images[i : i + _LARGEST_BATCH])
      for i in range(0, len(images), _LARGEST_BATCH)
    ]
    return {
      name: np.concatenate([part[name] for part in parts])
      for name in self.outputs
    }

  def _compute(self, images: np.ndarray) -> dict[str, np.ndarray]:
    """Computes the features of at most `_LARGEST_BATCH` images."""
    resized = self.resize(images)
    sharding = devices.batch_sharding()
    size = devices.round_up(1 << (len(images) - 1).bit_length(), sharding)
    rows = np.minimum(np.arange(size), len(images) - 1)
    found = self.apply(jax.device_put(resized[rows], sharding))
    return {
      name: np.asarray(found[name], np.float32)[: len(images)]
      for name in self.outputs
    }


def load_extractor(
  name: str = 'inception',
  *,
  weights: str | os.PathLike | None = None,
  resizer: str | None = None,
) -> FeatureExtractor:
  """Loads a pretrained network as an extractor of features.

  Args:
    name: 'inception' (`InceptionV3`), 'efficientnet_lite0',
      'efficientnet_lite2' (`EfficientNetLite`), 'clip' (the ViT-L/14@336px of
      CMMD, https://arxiv.org/abs/2401.09603), or 'clip:' followed by a name or
      path of `load_clip`. A hyphen may stand for an underscore.
    weights: file with the weights; by default see `load_inception`, `load` and
      `load_clip`.
    resizer: see `resizing.resize`; 'clean' by default.

  Returns:
    the extractor. 'pooled' is what the distances are computed from; an
    Inception Score needs 'logits', which CLIP lacks.

  Raises:
    MissingWeights: if the weights are not found; the message says how to get
      them.
    OSError: if `weights` cannot be read.
    ValueError: if the name or the resizer is unknown, or the checksum of the
      weights is wrong.
  """
  chosen = resizing.check_resizer(resizer or 'clean')
  kind, colon, which = name.partition(':')
  kind = kind.replace('-', '_')
  try:
    if kind == 'clip':
      return _load_clip(weights or which or _CLIP, chosen)
    if kind == 'inception' and not colon:
      return _load_inception(weights, chosen)
  except released.MissingWeights as error:
    raise released.MissingWeights(f'{error} {_STAND_IN}') from error
  if kind in efficientnet.NETWORKS and not colon:
    return _load_efficientnet(kind, weights, chosen)
  raise ValueError(
    f'unknown network of features {name!r}. Valid: {_VALID}; for a run also '
    'classifier.'
  )


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

  def compute(variables, images):
    # Otherwise GPUs and TPUs multiply in TF32 or bfloat16, which changes the
    # features, and the distances with them.
    with jax.default_matmul_precision('float32'):
      return forward(network, variables, images)

  options = cpu.get_compiler_options(jax.default_backend())
  compiled = jax.jit(compute, compiler_options=options)

  def apply(images):
    traced = isinstance(images, jax.core.Tracer)  # as part of another program
    return (compute if traced else compiled)(variables, images)

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


def _load_inception(
  weights: str | os.PathLike | None, resizer: resizing.Resizer
) -> FeatureExtractor:
  """Loads Inception-v3, whose range of pixels belongs to the resizer."""
  value_range = (-1.0, 1.0) if resizer == 'pytorch' else inception.GRAPH_RANGE
  network, variables = inception_loading.load_inception(
    weights, value_range=value_range
  )
  return from_network(
    network,
    variables,
    lambda network, variables, images: network.apply(variables, images / 255),
    name='inception',
    checksum=inception_loading.SHA256,
    size=(inception.SIZE,) * 2,
    resizer=resizer,
  )


def _load_clip(
  path: str | os.PathLike, resizer: resizing.Resizer
) -> FeatureExtractor:
  """Loads CLIP; the features are its embeddings of images."""
  network, variables = clip_loading.load_clip(path)
  named = path in clip_loading.RELEASES
  with clip_loading.find_file(path).open('rb') as file:
    checksum = hashlib.file_digest(file, 'sha256').hexdigest()

  def embed(network, variables, images):
    found = network.apply(variables, images / 255, method='encode_image')
    return {'pooled': found}

  return from_network(
    network,
    variables,
    embed,
    name=f'clip:{path if named else pathlib.Path(path).name}',
    checksum=checksum,
    size=(network.config.image_size,) * 2,
    resizer=resizer,
  )


def _load_efficientnet(
  name: str, weights: str | os.PathLike | None, resizer: resizing.Resizer
) -> FeatureExtractor:
  """Loads EfficientNet-Lite."""
  network, variables = efficientnet.load(name, weights)

  def classify(network, variables, images):
    logits, pooled = network.apply(variables, images / 255)
    return {'pooled': pooled, 'logits': logits}

  return from_network(
    network,
    jax.tree.map(jnp.asarray, variables),
    classify,
    name=name,
    checksum=released.lookup(name).sha256,
    size=(network.size,) * 2,
    resizer=resizer,
  )
