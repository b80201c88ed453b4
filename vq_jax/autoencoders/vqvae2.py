"""VQVAE2: a hierarchy of token grids."""

import functools
import math
import operator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.autoencoders import base
from vq_jax.autoencoders import conv_backbone
from vq_jax.layers import checked
from vq_jax.quantizers.base import Quantized
from vq_jax.utils import fields
from vq_jax.utils import images


class VQVAE2(checked.CheckedModule):
  """VQ-VAE-2 (https://arxiv.org/abs/1906.00446, 3.1, algorithm 1).

  A chain of encoders maps the image to the bottom grid, which has the highest
  resolution, and from each grid to the one above. Quantization begins at the
  top. The codes of all grids above are decoded to the resolution of the next
  grid and concatenated with its features before these are quantized. The image
  is decoded from the codes of all grids. Each grid has its own codebook.

  Codes and indices are tuples that begin with the top grid.

  Attributes:
    quantizer: the quantizer that is cloned for each grid.
    strides: pixels per latent of the bottom grid, then latents of each grid per
      latent of the grid above; powers of 2. An image of 256 x 256 has grids of
      64 x 64 and 32 x 32 with (4, 2), and one of 1024 x 1024 has grids of 128,
      64 and 32 with (8, 2, 2).
    channels: width of the features.
    residual_channels: width inside a residual block.
    residual_blocks: number of residual blocks of each encoder and decoder.
    image_channels: number of channels of the image.
    value_range: range of the pixels inside encoder and decoder. Outside they
      are in [0, 1].
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from vq_jax import autoencoders, quantizers
    >>> model = autoencoders.VQVAE2(
    ...   quantizers.VectorQuantizer(codebook_size=16, code_dim=2),
    ...   strides=(2, 2), channels=4, residual_channels=4, residual_blocks=1
    ... )
    >>> image = jnp.zeros((1, 8, 8, 3))
    >>> (_, quantized), _ = model.init_with_output(jax.random.key(0), image)
    >>> [indices.shape for indices in quantized.indices]
    [(1, 2, 2), (1, 4, 4)]
  """

  quantizer: nn.Module
  strides: tuple[fields.PositiveInt, ...] = (4, 2)
  channels: fields.PositiveInt = 128
  residual_channels: fields.PositiveInt = 32
  residual_blocks: fields.NonNegativeInt = 2
  image_channels: fields.PositiveInt = 3
  value_range: tuple[float, float] = (-1.0, 1.0)
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32

  @property
  def levels(self) -> int:
    """The number of token grids."""
    return len(self.strides)

  def setup(self):
    """Declares the layers of each grid, beginning with the bottom grid."""
    bad = [s for s in self.strides if s < 2 or s & (s - 1)]
    if bad or not self.strides:
      raise ValueError(
        'strides must be powers of 2, at least one of them and each at least '
        f'2; got {self.strides}.'
      )
    shape: dict[str, Any] = {
      'channels': self.channels,
      'residual_channels': self.residual_channels,
      'residual_blocks': self.residual_blocks,
      'dtype': self.dtype,
      'param_dtype': self.param_dtype,
    }
    width = self.quantizer.code_dim
    steps = [int(math.log2(stride)) for stride in self.strides]
    self.encoders = [
      conv_backbone.ConvEncoder(downsamples=n, **shape) for n in steps
    ]
    self.to_code = [nn.Dense(width) for _ in steps]
    self.quantizers = [
      self.quantizer.clone(parent=None, name=None) for _ in steps
    ]
    # Decoder l maps grid l to the grid below, or to the image.
    outputs = [self.image_channels] + [width] * (self.levels - 1)
    self.decoders = [
      conv_backbone.ConvDecoder(out_channels=out, upsamples=n, **shape)
      for out, n in zip(outputs, steps, strict=True)
    ]
    # Codes of the grids above are upsampled by a transposed convolution.
    self.upsamplers = [
      nn.ConvTranspose(
        width * (self.levels - 1 - level),
        (2 * self.strides[level + 1],) * 2,
        strides=(self.strides[level + 1],) * 2,
        dtype=self.dtype,
        param_dtype=self.param_dtype,
      )
      for level in range(self.levels - 1)
    ]

  def __call__(
    self, image: jax.Array, *, train: bool = False
  ) -> tuple[jax.Array, Quantized]:
    """Returns the reconstruction of `image` and its `Quantized` latents."""
    quantized = self.encode(image, train=train)
    codes: Any = quantized.quantized  # a tuple, one array for each grid
    return self.decode(codes), quantized

  def encode(self, image: jax.Array, *, train: bool = False) -> Quantized:
    """Encodes images [B, H, W, C], float in [0, 1] or uint8.

    Returns:
      codes and indices as tuples that begin with the top grid; the sum of the
      losses; and the statistics, named `<name>_<level>`.

    Raises:
      ValueError: if H or W is not a multiple of `stride`.
    """
    _, parts = self._encode_levels(image, train=train)
    return _join(parts)

  def latents(self, image: jax.Array) -> tuple[jax.Array, ...]:
    """Returns the latents of each grid before quantization, top grid first."""
    return tuple(self._encode_levels(image, train=False)[0])

  def quantize(
    self, latents: tuple[jax.Array, ...], *, train: bool = False
  ) -> Quantized:
    """Quantizes latents, top grid first, each grid by itself; see `encode`."""
    pairs = zip(reversed(self.quantizers), latents, strict=True)
    return _join([book(z, train=train) for book, z in pairs])

  def features(self, image: jax.Array) -> jax.Array:
    """Returns the encoder's features of the top grid, [B, h, w, D']."""
    return self._features(image)[-1]

  def decode(self, codes: tuple[jax.Array, ...]) -> jax.Array:
    """Decodes codes, top grid first, to float32 [B, H, W, C], not clipped."""
    joined = None
    for level, part in zip(reversed(range(self.levels)), codes, strict=True):
      joined = self._concatenate(level, part, joined)
    x = self.decoders[0](joined)
    return images.from_range(x.astype(jnp.float32), self.value_range)

  def decode_indices(self, indices: tuple[jax.Array, ...]) -> jax.Array:
    """Decodes indices, top grid first; see `decode`."""
    return self.decode(self.lookup(indices))

  def lookup(self, indices: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    """Returns the codes, float32 [..., D], of indices, top grid first."""
    pairs = zip(reversed(self.quantizers), indices, strict=True)
    return tuple(book.lookup(index) for book, index in pairs)

  def _encode_levels(
    self, image: jax.Array, *, train: bool
  ) -> tuple[list[jax.Array], list[Quantized]]:
    """Returns the latents of each grid and their codes, top grid first."""
    features = self._features(image)
    parts: list[Quantized] = []
    latents, codes = [], None
    for level in reversed(range(self.levels)):
      x = features[level]
      if parts:
        above = self.decoders[level + 1](codes)
        x = jnp.concatenate([x, above.astype(x.dtype)], axis=-1)
      latents.append(self.to_code[level](x))
      parts.append(self.quantizers[level](latents[-1], train=train))
      codes = self._concatenate(level, parts[-1].quantized, codes)
    return latents, parts

  def _features(self, image: jax.Array) -> list[jax.Array]:
    """Returns the features of each grid, bottom grid first."""
    base.require_multiple(image, self.stride)
    x = images.to_range(images.to_float(image), self.value_range)
    features = []
    for encoder in self.encoders:
      x = encoder(x)
      features.append(x)
    return features

  def _concatenate(
    self, level: int, codes: jax.Array, above: jax.Array | None
  ) -> jax.Array:
    """Concatenates a grid's codes with the upsampled codes of all above."""
    if above is None:
      return codes
    above = self.upsamplers[level](above).astype(codes.dtype)
    return jnp.concatenate([above, codes], axis=-1)

  @property
  def stride(self) -> int:
    """Pixels per latent of the top grid along a side."""
    return math.prod(self.strides)

  @property
  def token_grids(self) -> tuple[base.TokenGrid, ...]:
    """The descriptions of the indices, top grid first."""
    return tuple(
      base.TokenGrid(
        stride=math.prod(self.strides[: level + 1]),
        codebook_size=self.quantizer.codebook_size,
        index_shape=self.quantizer.index_shape,
      )
      for level in reversed(range(self.levels))
    )


def _join(parts: list[Quantized]) -> Quantized:
  """Joins the latents of all grids; statistics are named `<name>_<level>`."""
  stats = {
    f'{name}_{i}': value
    for i, part in enumerate(parts)
    for name, value in part.stats.items()
  }
  grids: dict[str, Any] = {
    'quantized': tuple(part.quantized for part in parts),
    'indices': tuple(part.indices for part in parts),
  }
  return Quantized(
    **grids,
    loss=functools.reduce(operator.add, (part.loss for part in parts)),
    stats=stats,
  )
