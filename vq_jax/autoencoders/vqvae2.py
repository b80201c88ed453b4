"""VQVAE2: several grids of codes, each finer one conditioned on the coarser."""

import math

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
  """Hierarchical VQ-VAE (Razavi et al. 2019, section 3.1, algorithm 1).

  The encoder goes down from the image to the finest grid, and from each grid to
  the next coarser. Quantization begins at the coarsest grid; all codes found so
  far are decoded to the next finer one, where they join the encoder's features
  before these are quantized. The image is decoded from the codes of all levels.
  Each level has a codebook of its own.

  Codes and indices are tuples, coarsest level first.

  Attributes:
    quantizer: template; each level has a clone of it.
    strides: pixels of the image per latent of the finest grid, then latents of
      each grid per latent of the next coarser; powers of 2. (4, 2) takes
      256 x 256 to 64 x 64 and 32 x 32; (8, 2, 2) takes 1024 x 1024 to 128, 64
      and 32.
    channels: width of the features.
    residual_channels: width inside a residual block.
    residual_blocks: in each tower.
    image_channels: channels of the image.
    value_range: the pixel range inside; [0, 1] outside.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
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
    """Number of grids."""
    return len(self.strides)

  def setup(self):
    """Declares a tower, a layer and a codebook per level; finest first."""
    bad = [s for s in self.strides if s < 2 or s & (s - 1)]
    if bad or not self.strides:
      raise ValueError(
        'strides must be powers of 2, at least one of them and each at least '
        f'2; got {self.strides}.'
      )
    shape = {
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
    # Decoder l leads from grid l to the next finer one, or to the image.
    outputs = [self.image_channels] + [width] * (self.levels - 1)
    self.decoders = [
      conv_backbone.ConvDecoder(out_channels=out, upsamples=n, **shape)
      for out, n in zip(outputs, steps, strict=True)
    ]
    # Coarser codes reach a grid by a transposed convolution of their own.
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
    return self.decode(quantized.quantized), quantized

  def encode(self, image: jax.Array, *, train: bool = False) -> Quantized:
    """Encodes images [B, H, W, C], float in [0, 1] or uint8.

    Returns:
      codes and indices as tuples, coarsest first; the loss of all levels; and
      their stats, named `<stat>_<level>`.

    Raises:
      ValueError: if the image does not divide into the coarsest grid.
    """
    features = self._features(image)
    found, codes = [], None
    for level in reversed(range(self.levels)):
      x = features[level]
      if found:
        above = self.decoders[level + 1](codes)
        x = jnp.concatenate([x, above.astype(x.dtype)], axis=-1)
      part = self.quantizers[level](self.to_code[level](x), train=train)
      found.append(part)
      codes = self._joined(level, part.quantized, codes)
    stats = {
      f'{name}_{i}': value
      for i, part in enumerate(found)
      for name, value in part.stats.items()
    }
    return Quantized(
      quantized=tuple(part.quantized for part in found),
      indices=tuple(part.indices for part in found),
      loss=sum(part.loss for part in found),
      stats=stats,
    )

  def features(self, image: jax.Array) -> jax.Array:
    """Returns what the encoder sees at the coarsest grid, [B, h, w, D']."""
    return self._features(image)[-1]

  def decode(self, codes: tuple[jax.Array, ...]) -> jax.Array:
    """Decodes codes, coarsest first, to float32 [B, H, W, C], unclipped."""
    joined = None
    for level, part in zip(reversed(range(self.levels)), codes, strict=True):
      joined = self._joined(level, part, joined)
    x = self.decoders[0](joined)
    return images.from_range(x.astype(jnp.float32), self.value_range)

  def decode_indices(self, indices: tuple[jax.Array, ...]) -> jax.Array:
    """Decodes indices, coarsest first; see `decode`."""
    books = reversed(self.quantizers)
    pairs = zip(books, indices, strict=True)
    return self.decode(tuple(book.lookup(index) for book, index in pairs))

  def _features(self, image: jax.Array) -> list[jax.Array]:
    """Returns the features of each grid, finest first."""
    base.require_multiple(image, self.stride)
    x = images.to_range(images.to_float(image), self.value_range)
    features = []
    for encoder in self.encoders:
      x = encoder(x)
      features.append(x)
    return features

  def _joined(
    self, level: int, codes: jax.Array, coarser: jax.Array | None
  ) -> jax.Array:
    """Lays a level's codes beside all coarser ones, brought to its grid."""
    if coarser is None:
      return codes
    above = self.upsamplers[level](coarser).astype(codes.dtype)
    return jnp.concatenate([above, codes], axis=-1)

  @property
  def stride(self) -> int:
    """Pixels per latent of the coarsest grid along a side."""
    return math.prod(self.strides)

  @property
  def token_grids(self) -> tuple[base.TokenGrid, ...]:
    """What the indices mean, coarsest first."""
    return tuple(
      base.TokenGrid(
        stride=math.prod(self.strides[: level + 1]),
        codebook_size=self.quantizer.codebook_size,
        index_shape=self.quantizer.index_shape,
      )
      for level in reversed(range(self.levels))
    )
