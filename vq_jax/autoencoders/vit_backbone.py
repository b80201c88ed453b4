"""The encoder and the decoder of ViT-VQGAN.

The paper leaves the inside of a block open; the configs of `vit_presets` name
what the open re-implementation, thuanz123/enhancing-transformers, does
differently from a plain Vision Transformer.
"""

import flax.linen as nn
import jax

from vq_jax.layers import checked
from vq_jax.layers import patches
from vq_jax.layers import positions
from vq_jax.layers import transformer as transformer_lib
from vq_jax.layers.output_norm import OutputNorm
from vq_jax.layers.projection import Projection
from vq_jax.utils import fields

SMALL = transformer_lib.TransformerConfig(
  layers=8, width=512, heads=8, mlp_width=2048
)


def _transform(
  x: jax.Array,
  config: transformer_lib.TransformerConfig,
  head_width: int | None,
) -> jax.Array:
  """Applies positions, blocks, norm and head to [B, h, w, D].

  It must be called in the compact method of a module, which owns the layers.
  """
  b, h, w, _ = x.shape
  encoding = positions.sincos_2d((h, w), config.width).reshape(1, h, w, -1)
  x = (x + encoding.astype(x.dtype)).reshape(b, h * w, -1)
  x, _ = transformer_lib.TransformerStack(config, name='stack')(x)
  x = OutputNorm(config, name='norm_out')(x)
  if head_width is not None:
    x = nn.tanh(Projection((head_width,), name='head', **config.dtypes)(x))
  return x.reshape(b, h, w, -1)


class ViTEncoder(checked.CheckedModule):
  """Patch embedding, fixed 2D positions and a pre-norm transformer.

  The encoder of ViT-VQGAN, Yu et al. 2022, section 3.1
  (https://arxiv.org/abs/2110.04627). It accepts any grid size.

  Attributes:
    patch: side of a patch in pixels, which is also the stride.
    overlap: side of the pixels that a patch embedding reads, in patches. With
      1, the paper's, patches do not overlap; with 2 each reaches to the middle
      of its neighbours, and the decoder needs less training to hide the edges
      of patches.
    transformer: config of the transformer; its width is a multiple of 4.
    head_width: width of a last dense layer with tanh. With the autoencoder's
      projection to the code dimension, which follows, it is the paper's
      two-layer head. None for no such layer, as in the re-implementation.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from vq_jax import autoencoders
    >>> from vq_jax.layers import transformer
    >>> encoder = autoencoders.ViTEncoder(
    ...   transformer=transformer.TransformerConfig(
    ...     layers=1, width=8, heads=2, mlp_width=16
    ...   ),
    ...   head_width=16,
    ... )
    >>> image = jnp.zeros((1, 32, 32, 3))
    >>> features, _ = encoder.init_with_output(jax.random.key(0), image)
    >>> features.shape
    (1, 4, 4, 16)
  """

  patch: fields.PositiveInt = 8
  overlap: fields.PositiveInt = 1
  transformer: transformer_lib.TransformerConfig = SMALL
  head_width: fields.PositiveInt | None = 2048

  @property
  def stride(self) -> int:
    """Pixels per latent along a side."""
    return self.patch

  @nn.compact
  def __call__(self, image: jax.Array) -> jax.Array:
    """Maps float [B, H, W, C] to [B, H / patch, W / patch, D'].

    D' is `head_width`, or the width of the transformer without a head.
    """
    embed = patches.PatchConv(
      self.transformer.width,
      self.overlap * self.patch,
      self.patch,
      name='embedding',
      **self.transformer.dtypes,
    )
    return _transform(embed(image), self.transformer, self.head_width)


class ViTDecoder(checked.CheckedModule):
  """Fixed 2D positions, a pre-norm transformer and a map to patches of pixels.

  The decoder of ViT-VQGAN, Yu et al. 2022, section 3.1.

  Attributes:
    out_channels: number of channels of the image.
    patch: side of a patch in pixels, which is also the stride.
    overlap: as in the encoder; overlapping patches are added.
    transformer: config of the transformer; its width is a multiple of 4.
    head_width: width of a dense layer with tanh before the projection to
      patches: together they are the paper's two-layer head. None for no such
      layer.
  """

  out_channels: fields.PositiveInt = 3
  patch: fields.PositiveInt = 8
  overlap: fields.PositiveInt = 1
  transformer: transformer_lib.TransformerConfig = SMALL
  head_width: fields.PositiveInt | None = 2048

  @property
  def stride(self) -> int:
    """Pixels per latent along a side."""
    return self.patch

  @property
  def last_layer(self) -> str:
    """Name of the layer whose output is the image."""
    return 'pixels'

  @nn.compact
  def __call__(self, codes: jax.Array) -> jax.Array:
    """Maps [B, h, w, D] to [B, h * patch, w * patch, out_channels]."""
    config = self.transformer
    x = Projection((config.width,), name='from_code', **config.dtypes)(codes)
    x = _transform(x, config, self.head_width)
    return patches.OverlapAdd(
      self.out_channels,
      self.overlap * self.patch,
      self.patch,
      name='pixels',
      **config.dtypes,
    )(x)
