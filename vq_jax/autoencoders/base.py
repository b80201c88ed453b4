"""The description of an autoencoder's tokens, and functions that all share."""

import dataclasses
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.quantizers import base as quantizers_base
from vq_jax.utils import fields
from vq_jax.utils import images

# `code_counts` omits larger codebooks: the counts of 2^20 codes have 4 MB.
MAX_COUNTED_CODES = 2**20


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenGrid:
  """The description of a grid of tokens, the indices of the codes of an image.

  Attributes:
    stride: pixels per latent along a side.
    codebook_size: K, the number of values of an index.
    index_shape: shape of the index of one latent; see
      `vq_jax.quantizers.Quantizer`.
  """

  stride: int
  codebook_size: fields.PositiveInt
  index_shape: tuple[int, ...] = ()

  def shape(self, height: int, width: int) -> tuple[int, ...]:
    """Returns the shape of the indices of an image of that size in pixels."""
    grid = (height // self.stride, width // self.stride)
    return (*grid, *self.index_shape)


def require_multiple(image: jax.Array, stride: int) -> None:
  """Raises ValueError unless H and W of an image are multiples of `stride`."""
  if image.ndim != 4 or any(size % stride for size in image.shape[1:3]):
    raise ValueError(
      'the image must be [B, H, W, C] with H and W multiples of '
      f'{stride}; got {image.shape}. Crop or resize it.'
    )


def require_one_stride(encoder: nn.Module, decoder: nn.Module) -> None:
  """Raises ValueError unless encoder and decoder have the same stride."""
  if encoder.stride != decoder.stride:
    raise ValueError(
      'encoder and decoder must have the same stride; got '
      f'{encoder.stride} and {decoder.stride}.'
    )


def encode_pixels(
  encoder: nn.Module, image: jax.Array, value_range: tuple[float, float]
) -> jax.Array:
  """Applies an encoder to images, uint8 or float in [0, 1].

  Returns:
    the features, float [B, h, w, D'].

  Raises:
    ValueError: if H or W is not a multiple of the encoder's stride.
  """
  require_multiple(image, encoder.stride)
  return encoder(images.to_range(images.to_float(image), value_range))


def code_counts(
  grids: Sequence[TokenGrid],
  indices: jax.Array | tuple[jax.Array, ...],
  axis_name: str | None = None,
  weights: jax.Array | None = None,
) -> dict[str, jax.Array]:
  """Counts how often each code of each token grid was chosen.

  Grids with more than `MAX_COUNTED_CODES` codes are omitted, because the counts
  are arrays with one element per code.

  Args:
    grids: an autoencoder's `token_grids`.
    indices: int32 [B, h, w, *index_shape], or a tuple of them, one per grid.
    axis_name: name of the pmap axis, or None.
    weights: float [B], the weight of each example; 1 by default.

  Returns:
    float32 [*index_shape, K] by the suffix of the grid's metrics: '' for a
    single grid, and '_0', '_1', ... for several.
  """
  parts = indices if isinstance(indices, tuple) else (indices,)
  counts = {}
  for i, (grid, part) in enumerate(zip(grids, parts, strict=True)):
    if grid.codebook_size > MAX_COUNTED_CODES:
      continue
    per_latent = None
    if weights is not None:
      per_latent = jnp.broadcast_to(weights[:, None, None], part.shape[:3])
    counts[f'_{i}' if len(grids) > 1 else ''] = quantizers_base.code_counts(
      part, grid.codebook_size, grid.index_shape, axis_name, per_latent
    )
  return counts
