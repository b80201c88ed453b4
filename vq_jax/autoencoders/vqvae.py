"""VQVAE: any two towers around any quantizer."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.autoencoders import base
from vq_jax.layers import checked
from vq_jax.quantizers.base import Quantized
from vq_jax.utils import images


class VQVAE(checked.CheckedModule):
  """An autoencoder whose latent is a grid of codes (van den Oord et al. 2017).

  A linear layer takes the encoder's features to the width of the codes, so
  that any quantizer fits any tower.

  Attributes:
    encoder: tower: image [B, H, W, C] -> features [B, h, w, D'].
    quantizer: `vq_jax.quantizers`: [B, h, w, D] -> `Quantized`.
    decoder: tower: codes [B, h, w, D] -> image [B, H, W, C].
    value_range: the pixel range inside; [0, 1] outside.
    likelihood: what the decoder says of an image beyond a picture of it, see
      `vq_jax.autoencoders.likelihoods`; None if it says nothing more.
  """

  encoder: nn.Module
  quantizer: nn.Module
  decoder: nn.Module
  value_range: tuple[float, float] = (-1.0, 1.0)
  likelihood: nn.Module | None = None

  def setup(self):
    """Declares the layer between encoder and quantizer."""
    base.require_one_stride(self.encoder, self.decoder)
    self.to_code = nn.Dense(self.quantizer.code_dim)

  def __call__(
    self, image: jax.Array, *, train: bool = False
  ) -> tuple[jax.Array, Quantized]:
    """Returns the reconstruction of `image` and its `Quantized` latent."""
    quantized = self.encode(image, train=train)
    output = self.decode_output(quantized.quantized)
    if self.likelihood is None:
      return output, quantized
    if self.is_initializing():  # a learned scale shows itself here alone
      self.likelihood(output, images.to_float(image))
    return self.likelihood.mean(output), quantized

  def terms(
    self, image: jax.Array, *, train: bool = False
  ) -> tuple[jax.Array, jax.Array, Quantized]:
    """Returns log p(image | codes) [B] in nats, and what `__call__` returns."""
    quantized = self.encode(image, train=train)
    output = self.decode_output(quantized.quantized)
    log_p = self.likelihood(output, images.to_float(image))
    return log_p, self.likelihood.mean(output), quantized

  def encode(self, image: jax.Array, *, train: bool = False) -> Quantized:
    """Encodes images.

    Args:
      image: [B, H, W, C], float in [0, 1] or uint8; H and W are multiples of
        `stride`.
      train: whether the codebook learns from this batch.

    Raises:
      ValueError: if the image does not divide into the grid.
    """
    features = self.features(image)
    return self.quantizer(self.to_code(features), train=train)

  def features(self, image: jax.Array) -> jax.Array:
    """Returns what the encoder sees in images, float [B, h, w, D']."""
    return base.encode_pixels(self.encoder, image, self.value_range)

  def decode(self, codes: jax.Array) -> jax.Array:
    """Decodes codes [B, h, w, D] to float32 [B, H, W, C], [0, 1] unclipped."""
    output = self.decode_output(codes)
    return output if self.likelihood is None else self.likelihood.mean(output)

  def decode_output(self, codes: jax.Array) -> jax.Array:
    """Returns what a likelihood takes, float32 [B, H, W, outputs(C)].

    Of the decoder's numbers only pixels lie in `value_range`.
    """
    x = self.decoder(codes).astype(jnp.float32)
    if self.likelihood is None:
      return images.from_range(x, self.value_range)
    return self.likelihood.in_unit_range(x, self.value_range)

  def decode_indices(self, indices: jax.Array) -> jax.Array:
    """Decodes indices int32 [B, h, w, *index_shape]; see `decode`."""
    return self.decode(self.quantizer.lookup(indices))

  @property
  def stride(self) -> int:
    """Pixels per latent along a side."""
    return self.encoder.stride

  @property
  def last_layer(self) -> tuple[str, str]:
    """Names that lead to the parameters of the layer that gives the pixels."""
    return ('decoder', self.decoder.last_layer)

  @property
  def token_grids(self) -> tuple[base.TokenGrid, ...]:
    """What the indices mean."""
    return (
      base.TokenGrid(
        stride=self.stride,
        codebook_size=self.quantizer.codebook_size,
        index_shape=self.quantizer.index_shape,
      ),
    )
