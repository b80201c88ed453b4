"""Loading of pretrained networks as extractors of features."""

import hashlib
import os
import pathlib

import jax
import jax.numpy as jnp

from vq_jax.features import clip_loading
from vq_jax.features import efficientnet
from vq_jax.features import extractors
from vq_jax.features import inception
from vq_jax.features import inception_loading
from vq_jax.features import released
from vq_jax.features import resizing

_STAND_IN = (
  'Without these weights, efficientnet_lite0 is a stand-in (`--features '
  'efficientnet_lite0`); its numbers are not comparable with published ones.'
)
# The CLIP of CMMD (https://arxiv.org/abs/2401.09603).
_CLIP = 'ViT-L/14@336px'
_VALID = ', '.join(
  ('inception', *efficientnet.NETWORKS, 'clip', 'clip:PATH-OR-NAME')
)


def load_extractor(
  name: str = 'inception',
  *,
  weights: str | os.PathLike | None = None,
  resizer: str | None = None,
) -> extractors.FeatureExtractor:
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


def _load_inception(
  weights: str | os.PathLike | None, resizer: resizing.Resizer
) -> extractors.FeatureExtractor:
  """Loads Inception-v3, whose range of pixels belongs to the resizer."""
  value_range = (-1.0, 1.0) if resizer == 'pytorch' else inception.GRAPH_RANGE
  network, variables = inception_loading.load_inception(
    weights, value_range=value_range
  )
  return extractors.from_network(
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
) -> extractors.FeatureExtractor:
  """Loads CLIP; the features are its embeddings of images."""
  network, variables = clip_loading.load_clip(path)
  named = path in clip_loading.RELEASES
  with clip_loading.find_file(path).open('rb') as file:
    checksum = hashlib.file_digest(file, 'sha256').hexdigest()

  def embed(network, variables, images):
    found = network.apply(variables, images / 255, method='encode_image')
    return {'pooled': found}

  return extractors.from_network(
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
) -> extractors.FeatureExtractor:
  """Loads EfficientNet-Lite."""
  network, variables = efficientnet.load(name, weights)

  def classify(network, variables, images):
    logits, pooled = network.apply(variables, images / 255)
    return {'pooled': pooled, 'logits': logits}

  return extractors.from_network(
    network,
    jax.tree.map(jnp.asarray, variables),
    classify,
    name=name,
    checksum=released.lookup(name).sha256,
    size=(network.size,) * 2,
    resizer=resizer,
  )
