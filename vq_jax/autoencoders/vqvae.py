"""VQVAE: an encoder, a quantizer and a decoder."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.autoencoders import base
from vq_jax.layers import checked
from vq_jax.quantizers.base import Quantized
from vq_jax.utils import images


class VQVAE(checked.CheckedModule):
  """An autoencoder with a quantized latent (https://arxiv.org/abs/1711.00937).

  A linear layer projects the encoder's features to the width of the codes, so
  that any quantizer can be combined with any encoder and decoder.

  Attributes:
    encoder: module that maps an image [B, H, W, C] to features [B, h, w, D'].
    quantizer: a quantizer of vectors [B, h, w, D]; see `vq_jax.quantizers`.
    decoder: module that maps codes [B, h, w, D] to an image [B, H, W, C], or to
      the output [B, H, W, C'] that `likelihood` requires.
    value_range: range of the pixels inside encoder and decoder. Outside they
      are in [0, 1].
    likelihood: p(x | codes) as a function of the decoder's output; see
      `vq_jax.autoencoders.likelihoods`. With None the output is the image.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from vq_jax import autoencoders, quantizers
    >>> model = autoencoders.VQVAE(
    ...   encoder=autoencoders.PatchEncoder(channels=8, blocks=0),
    ...   quantizer=quantizers.VectorQuantizer(codebook_size=16, code_dim=2),
    ...   decoder=autoencoders.PatchDecoder(channels=8, blocks=0),
    ... )
    >>> image = jnp.zeros((1, 8, 8, 3))
    >>> (decoded, quantized), variables = model.init_with_output(
    ...   jax.random.key(0), image
    ... )
    >>> decoded.shape, quantized.indices.shape
    ((1, 8, 8, 3), (1, 2, 2))
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
    if self.is_initializing():  # a learned scale is a parameter
      self.likelihood(output, images.to_float(image))
    return self.likelihood.mean(output), quantized

  def likelihood_terms(
    self, image: jax.Array, *, train: bool = False
  ) -> tuple[jax.Array, jax.Array, Quantized]:
    """Returns the log-likelihood of images given their quantized latents.

    The decoder must have a `likelihood`.

    Args:
      image: [B, H, W, C], float in [0, 1] or uint8.
      train: passed to the quantizer.

    Returns:
      log p(image | codes) [B] in nats; the reconstruction, which is the mean of
      that distribution, float32 [B, H, W, C]; and the quantized latent.
    """
    quantized = self.encode(image, train=train)
    output = self.decode_output(quantized.quantized)
    assert self.likelihood is not None
    log_p = self.likelihood(output, images.to_float(image))
    return log_p, self.likelihood.mean(output), quantized

  def encode(self, image: jax.Array, *, train: bool = False) -> Quantized:
    """Encodes images.

    Args:
      image: [B, H, W, C], float in [0, 1] or uint8; H and W are multiples of
        `stride`.
      train: passed to the quantizer.

    Raises:
      ValueError: if H or W is not a multiple of `stride`.
    """
    return self.quantize(self.latents(image), train=train)

  def latents(self, image: jax.Array) -> jax.Array:
    """Returns the latents before quantization, float [B, h, w, D]."""
    return self.to_code(self.features(image))

  def quantize(self, latents: jax.Array, *, train: bool = False) -> Quantized:
    """Quantizes latents [B, h, w, D], those of `latents` or any others."""
    return self.quantizer(latents, train=train)

  def features(self, image: jax.Array) -> jax.Array:
    """Returns the output of the encoder, float [B, h, w, D']."""
    return base.encode_pixels(self.encoder, image, self.value_range)

  def decode(self, codes: jax.Array) -> jax.Array:
    """Decodes codes to float32 [B, H, W, C] in [0, 1], not clipped."""
    output = self.decode_output(codes)
    return output if self.likelihood is None else self.likelihood.mean(output)

  def decode_output(self, codes: jax.Array) -> jax.Array:
    """Returns the decoder's output, float32 [B, H, W, C'].

    Values that are pixels are mapped from `value_range` to [0, 1]; logits,
    scales and weights of a likelihood are not changed.
    """
    x = self.decoder(codes).astype(jnp.float32)
    if self.likelihood is None:
      return images.from_range(x, self.value_range)
    return self.likelihood.in_unit_range(x, self.value_range)

  def decode_indices(self, indices: jax.Array) -> jax.Array:
    """Decodes indices int32 [B, h, w, *index_shape]; see `decode`."""
    return self.decode(self.lookup(indices))

  def lookup(self, indices: jax.Array) -> jax.Array:
    """Returns the codes, float32 [..., D], of indices."""
    return self.quantizer.lookup(indices)

  @property
  def stride(self) -> int:
    """Pixels per latent along a side."""
    return self.encoder.stride

  @property
  def last_layer(self) -> tuple[str, str]:
    """Path to the parameters of the layer whose output is the image."""
    return ('decoder', self.decoder.last_layer)

  @property
  def token_grids(self) -> tuple[base.TokenGrid, ...]:
    """The description of the indices; a tuple of one."""
    return (
      base.TokenGrid(
        stride=self.stride,
        codebook_size=self.quantizer.codebook_size,
        index_shape=self.quantizer.index_shape,
      ),
    )
