"""Images to tokens and back, with checks of what is passed."""

import functools
import os
from collections.abc import Mapping
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Any
from typing import Literal
from typing import cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vq_jax.data import decode as decode_lib
from vq_jax.data import preprocessing
from vq_jax.inference import latents
from vq_jax.inference import validate
from vq_jax.inference.info import ModelInfo
from vq_jax.inference.types import Array
from vq_jax.inference.types import Indices
from vq_jax.utils import compilation
from vq_jax.utils import images as images_lib

if TYPE_CHECKING:
  from PIL import Image


@functools.partial(compilation.jit, static_argnames='autoencoder')
def encode_tokens(
  autoencoder: nn.Module, variables: Mapping[str, Any], images: jax.Array
) -> Indices:
  """Encodes images to indices, compiled, without checks; see `encode`."""
  encoded: Any = autoencoder.apply(variables, images, method='encode')
  return encoded.indices


@functools.partial(compilation.jit, static_argnames='autoencoder')
def decode_tokens(
  autoencoder: nn.Module, variables: Mapping[str, Any], indices: Indices
) -> jax.Array:
  """Decodes indices to images, compiled, without checks; see `decode`."""
  image: Any = autoencoder.apply(variables, indices, method='decode_indices')
  return jnp.clip(image, 0, 1)


def encode(
  autoencoder: nn.Module,
  variables: Mapping[str, Any],
  images: Array,
  channels: int,
) -> Indices | np.ndarray:
  """Encodes images to indices, or to latents if there is no quantizer.

  Args:
    autoencoder: any autoencoder.
    variables: its variables.
    images: [B, H, W, C], uint8 in [0, 255] or float in [0, 1].
    channels: C.

  Returns:
    int32 [B, h, w, *index_shape], or a tuple of them for an autoencoder with
    several token grids; of an AE or VAE the latents, float32 [B, ...].

  Raises:
    ValueError: if the shape or the range of the images does not fit.
    TypeError: if the images are neither uint8 nor float.
  """
  validate.check_images(images, channels)
  if not autoencoder.token_grids:
    return latents.encode(autoencoder, variables, images)
  return encode_tokens(autoencoder, variables, jnp.asarray(images))


def decode(
  autoencoder: nn.Module,
  variables: Mapping[str, Any],
  encoded: Indices,
  image_shape: Sequence[int],
) -> Array:
  """Decodes the result of `encode` to images.

  Args:
    autoencoder: any autoencoder.
    variables: its variables.
    encoded: indices, or latents if there is no quantizer.
    image_shape: (H, W, C) of the training images.

  Returns:
    float32 [B, H, W, C] in [0, 1].

  Raises:
    ValueError: if the shapes do not fit, or an index is not in the codebook.
  """
  if not autoencoder.token_grids:
    return latents.decode(autoencoder, variables, encoded, image_shape)
  parts = validate.check_parts(encoded, autoencoder.token_grids)
  return decode_tokens(autoencoder, variables, join(parts))


def reconstruct(
  autoencoder: nn.Module, variables: Mapping[str, Any], images: Array
) -> jax.Array:
  """Encodes and decodes images, with any autoencoder.

  Args:
    autoencoder: any autoencoder.
    variables: its variables.
    images: [B, H, W, C], uint8 in [0, 255] or float in [0, 1].

  Returns:
    float32 [B, H, W, C] in [0, 1].
  """
  if autoencoder.token_grids:
    indices = encode_tokens(autoencoder, variables, jnp.asarray(images))
    return decode_tokens(autoencoder, variables, indices)
  z = latents.encode(autoencoder, variables, images)
  return jnp.asarray(
    latents.decode(autoencoder, variables, z, np.shape(images)[1:])
  )


def join(parts: Sequence[Array]) -> Indices:
  """Returns the indices of all token grids as an autoencoder takes them."""
  return tuple(parts) if len(parts) > 1 else parts[0]


def preprocess(
  image: 'str | os.PathLike | Image.Image | Array', info: ModelInfo
) -> np.ndarray:
  """Turns any image into one that a model takes.

  The number of channels becomes that of the model, and the preprocessing of
  the run's evaluation is applied, which usually resizes and crops.

  Args:
    image: the path of an image file, a PIL image, or an array [H, W] or
      [H, W, C], uint8 in [0, 255] or float in [0, 1].
    info: facts about the model.

  Returns:
    uint8 [H, W, C] of the shape `info.image_shape`.

  Raises:
    ValueError: if the image cannot be read, or the preprocessing of the run
      does not give its shape.
  """
  channels = info.image_shape[-1]
  if isinstance(image, str | os.PathLike):
    pixels = decode_image(image, channels)
  elif hasattr(image, 'getexif'):  # a PIL image, without importing PIL
    opened = cast('Image.Image', image)
    pixels = decode_lib.pil_to_pixels(opened, channels=channels)
  else:
    pixels = preprocessing.Channels(count=cast(Literal[1, 3], channels))(
      _to_pixels(image)
    )
  pixels = preprocessing.apply(info.preprocess, pixels, cast(Any, None))
  if pixels.shape != tuple(info.image_shape):
    raise ValueError(
      f'the model takes images {info.image_shape}, and the preprocessing of '
      f'its run makes {pixels.shape} of this image; resize or crop it first.'
    )
  return pixels


def decode_image(path: str | os.PathLike, channels: int) -> np.ndarray:
  """Reads an image file: uint8 [H, W, C]; see `vq_jax.data.decode`."""
  return decode_lib.decode_image(path, channels=channels, name=os.fspath(path))


def _to_pixels(image: Array) -> np.ndarray:
  """Returns an array as uint8 [H, W, C], C 1 or 3."""
  image = np.asarray(image)
  if image.ndim == 2:
    image = image[..., None]
  if image.ndim != 3 or image.shape[-1] not in (1, 3):
    raise ValueError(
      f'an image must be [H, W], [H, W, 1] or [H, W, 3]; got {image.shape}.'
    )
  images_lib.check_range(image)
  return images_lib.to_uint8(image)
