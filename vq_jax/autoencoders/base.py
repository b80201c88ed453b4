"""What every autoencoder tells of its latent, and what they share."""

import dataclasses

import flax.linen as nn
import jax

from vq_jax.utils import images


@dataclasses.dataclass(frozen=True, kw_only=True)
class CodeGrid:
  """One grid of codes: what its indices mean.

  Attributes:
    stride: pixels per latent along a side.
    codebook_size: K of each index.
    index_shape: shape of a vector's index, () or (G,).
  """

  stride: int
  codebook_size: int
  index_shape: tuple[int, ...] = ()

  def shape(self, height: int, width: int) -> tuple[int, ...]:
    """Returns the shape of the indices of an image of that size."""
    grid = (height // self.stride, width // self.stride)
    return (*grid, *self.index_shape)


def require_multiple(image: jax.Array, stride: int) -> None:
  """Raises ValueError unless an image batch divides into latents."""
  if image.ndim != 4 or any(size % stride for size in image.shape[1:3]):
    raise ValueError(
      'the image must be [B, H, W, C] with H and W multiples of '
      f'{stride}; got {image.shape}. Crop or resize it.'
    )


def require_one_stride(encoder: nn.Module, decoder: nn.Module) -> None:
  """Raises ValueError unless two towers fit each other."""
  if encoder.stride != decoder.stride:
    raise ValueError(
      'the towers must have one stride; the encoder has '
      f'{encoder.stride}, the decoder {decoder.stride}.'
    )


def encode_pixels(
  encoder: nn.Module, image: jax.Array, value_range: tuple[float, float]
) -> jax.Array:
  """Applies an encoder to images, uint8 or float in [0, 1].

  Returns:
    the features, float [B, h, w, D'].

  Raises:
    ValueError: if an image does not divide into the grid.
  """
  require_multiple(image, encoder.stride)
  return encoder(images.to_range(images.to_float(image), value_range))
