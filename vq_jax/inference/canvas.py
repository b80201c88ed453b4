"""Canvases: images of any size on whole tokens of a prior's grid."""

import dataclasses
from collections.abc import Sequence

import flax.linen as nn

from vq_jax import autoencoders
from vq_jax.inference.info import Pipeline


@dataclasses.dataclass(frozen=True, kw_only=True)
class Canvas:
  """How images are placed on a grid of whole tokens.

  Attributes:
    shape: (H', W') of the canvas, multiples of the stride.
    corner: (top, left) of the images on the canvas.
  """

  shape: tuple[int, int]
  corner: tuple[int, int]

  def padding(self, height: int, width: int) -> tuple:
    """Returns the padding of [B, H, W] to the canvas, as for `np.pad`."""
    (below, right), (top, left) = self.shape, self.corner
    return (
      (0, 0),
      (top, below - top - height),
      (left, right - left - width),
    )


def make_canvas(
  pipeline: Pipeline, size: tuple[int, int], origin: tuple[int, int]
) -> Canvas:
  """Places images on whole tokens, at least as many as the prior's grid has.

  A token begins at the origin, unless the images fit into the training size
  only if none does.

  Args:
    pipeline: the model.
    size: (H, W) of the images.
    origin: (top, left), a pixel of the images.
  """
  stride = pipeline.autoencoder.stride
  trained = pipeline.info.image_shape[:2]
  shape, corner = [], []
  for pixels, start, usual in zip(size, origin, trained, strict=True):
    before = -start % stride
    if pixels <= usual < pixels + before:
      before = 0
    corner.append(before)
    shape.append(max(usual, -(-(pixels + before) // stride) * stride))
  if len(pipeline.levels) > 1:
    check_size(pipeline.autoencoder, size, trained, 'pixels')
  check_size(pipeline.autoencoder, shape, trained, 'pixels')
  return Canvas(shape=tuple(shape), corner=tuple(corner))


def check_size(
  autoencoder: nn.Module,
  size: Sequence[int],
  trained: Sequence[int],
  unit: str,
) -> None:
  """Raises ValueError unless an autoencoder and its priors allow a size."""
  (h, w), (height, width) = size, trained
  if (h, w) == (height, width):
    return
  why = ''
  if len(autoencoder.token_grids) > 1:
    why = 'the windows of a hierarchy of token grids would not fit each other'
  elif h < height or w < width:
    why = 'the prior samples no smaller grid'
  elif _has_position_embeddings(autoencoder):
    why = 'its vision transformers have no position embeddings beyond'
  if why:
    raise ValueError(
      f'this run needs {height} x {width} {unit}: {why}. Got {h} x {w}; crop, '
      'resize or pad.'
    )


def _has_position_embeddings(autoencoder: nn.Module) -> bool:
  kinds = (autoencoders.ViTEncoder, autoencoders.ViTDecoder)
  return any(
    isinstance(getattr(autoencoder, name, None), kinds)
    for name in ('encoder', 'decoder')
  )
