"""The part of a model that encodes and decodes images."""

import dataclasses
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Annotated
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vq_jax.inference import codec
from vq_jax.inference import latents
from vq_jax.inference.info import ModelInfo
from vq_jax.inference.types import Array
from vq_jax.inference.types import Indices
from vq_jax.utils import fields

if TYPE_CHECKING:
  from PIL import Image

_Steps = Annotated[int, fields.Range(least=2, most=2**16)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageCodec:
  """An autoencoder with its variables: images <-> tokens, or latents.

  Attributes:
    autoencoder: Flax module, images <-> tokens, or latents of an AE or VAE.
    variables: the variables of each module, by `'autoencoder'` and, for a
      model with a prior, `'prior'` and `'critic'`; averaged parameters where
      training kept them.
    info: facts about the model, such as the shape of its images.
  """

  autoencoder: nn.Module
  variables: Mapping[str, Any]
  info: ModelInfo

  def preprocess(
    self, image: 'str | os.PathLike | Image.Image | Array'
  ) -> np.ndarray:
    """Turns any image into one that the model takes.

    Args:
      image: the path of an image file, a PIL image, or an array [H, W] or
        [H, W, C], uint8 in [0, 255] or float in [0, 1].

    Returns:
      uint8 [H, W, C] of the shape `info.image_shape`.

    Raises:
      ValueError: if the image cannot be read, or the preprocessing of the run
        does not give its shape.
    """
    return codec.preprocess(image, self.info)

  def encode(self, images: Array) -> Indices:
    """Encodes images to indices, or to the latents of an AE or VAE.

    Args:
      images: [B, H, W, C], uint8 in [0, 255] or float in [0, 1].

    Returns:
      int32 [B, h, w, *index_shape]; a tuple of them, the parent level first,
      for an autoencoder with several token grids. The latents of an AE, and the
      means of a VAE, are float32 [B, D] or [B, h, w, D].

    Raises:
      ValueError: if the shape or the range of the images does not fit.
      TypeError: if the images are neither uint8 nor float.
    """
    return codec.encode(
      self.autoencoder,
      self.variables['autoencoder'],
      images,
      self.info.image_shape[-1],
    )

  def decode(self, encoded: Indices) -> jax.Array:
    """Decodes the result of `encode`.

    Args:
      encoded: indices or latents.

    Returns:
      float32 [B, H, W, C] in [0, 1].

    Raises:
      ValueError: if the shapes do not fit, or an index is not in the codebook.
    """
    decoded = codec.decode(
      self.autoencoder,
      self.variables['autoencoder'],
      encoded,
      self.info.image_shape,
    )
    return jnp.asarray(decoded)

  def reconstruct(self, images: Array) -> jax.Array:
    """Encodes and decodes images; see `encode` and `decode`."""
    return self.decode(self.encode(images))

  @fields.checked
  def interpolate(
    self, first: Array, last: Array, *, steps: _Steps = 8
  ) -> jax.Array:
    """Decodes points on the line between the latents of two images.

    Args:
      first: [H, W, C], uint8 in [0, 255] or float in [0, 1].
      last: an image of the same shape.
      steps: the number of points, with both ends among them.

    Returns:
      float32 [steps, H, W, C] in [0, 1].

    Raises:
      ValueError: if the model is neither an AE nor a VAE, or the images do not
        fit it.
    """
    latents.require_latents(self.autoencoder)
    if np.shape(first) != np.shape(last):
      raise ValueError(
        'the two images must have one shape; got '
        f'{np.shape(first)} and {np.shape(last)}.'
      )
    start, end = self.encode(np.stack([first, last]))
    return self.decode(latents.interpolate(start, end, steps))
