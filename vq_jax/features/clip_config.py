"""The sizes of a CLIP."""

import dataclasses
from typing import Literal

from vq_jax.layers import transformer
from vq_jax.utils import fields

_ACTIVATIONS = {'gelu': 'gelu_exact', 'quick_gelu': 'quick_gelu'}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ViTConfig:
  """A Vision Transformer (https://arxiv.org/abs/2010.11929); ViT-B/32 here.

  Attributes:
    patch: side of a patch in pixels, the P in the name 'ViT-B/P'.
    width: width of the residual stream.
    layers: number of blocks.
    heads: attention heads; the released models have `width / 64`.
  """

  patch: fields.PositiveInt = 32
  width: fields.PositiveInt = 768
  layers: fields.NonNegativeInt = 12
  heads: fields.PositiveInt = 12

  def __post_init__(self):
    fields.check(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResNetConfig:
  """CLIP's variant of a ResNet (https://arxiv.org/abs/2103.00020, sec. 2.4).

  Attributes:
    layers: bottleneck blocks of each of the four stages; RN50 here.
    width: channels after the stem. The last stage has `32 * width` channels.
    heads: attention heads of the pooling; the released models have `width / 2`.
  """

  layers: tuple[int, int, int, int] = (3, 4, 6, 3)
  width: fields.PositiveInt = 64
  heads: fields.PositiveInt = 32

  def __post_init__(self):
    fields.check(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CLIPConfig:
  """The sizes of a CLIP; the defaults are those of ViT-B/32.

  Attributes:
    embed_dim: D, the width of the embeddings.
    image_size: side of the images in pixels.
    vision: the image encoder.
    text_width: width of the text transformer.
    text_heads: its attention heads; the released models have `width / 64`.
    text_layers: its number of blocks.
    context_length: the largest number of tokens of a text.
    vocab_size: number of tokens. The last one ends a text.
    end_token: id whose first occurrence ends a text. None stands for the
      largest id of each text, the rule of OpenAI; the two differ only in
      models whose vocabulary has ids above that of the end.
    activation: activation of the transformers: 'quick_gelu' is
      x * sigmoid(1.702 x), of OpenAI's weights; 'gelu' is the exact GELU.

  Raises:
    ValueError: if a value is out of range, or the image size is no multiple of
      the patch (of 32 for a ResNet).

  Example:
    >>> from vq_jax.features import clip_config
    >>> vision = clip_config.ViTConfig(patch=16)
    >>> clip_config.CLIPConfig(vision=vision).grid
    14
  """

  embed_dim: fields.PositiveInt = 512
  image_size: fields.PositiveInt = 224
  vision: ViTConfig | ResNetConfig = ViTConfig()
  text_width: fields.PositiveInt = 512
  text_heads: fields.PositiveInt = 8
  text_layers: fields.NonNegativeInt = 12
  context_length: fields.PositiveInt = 77
  vocab_size: fields.PositiveInt = 49408
  end_token: fields.NonNegativeInt | None = None
  activation: Literal['gelu', 'quick_gelu'] = 'quick_gelu'

  def __post_init__(self):
    fields.check(self)
    if self.image_size % self.stride:
      raise ValueError(
        f'image_size must be a multiple of {self.stride}, the pixels of a cell '
        f'of the image encoder; got {self.image_size}.'
      )

  @property
  def stride(self) -> int:
    """The side of a cell of the last grid of the image encoder, in pixels."""
    is_vit = isinstance(self.vision, ViTConfig)
    return self.vision.patch if is_vit else 32

  @property
  def grid(self) -> int:
    """The side of that grid."""
    return self.image_size // self.stride

  def transformer(
    self, width: int, layers: int, heads: int, **options
  ) -> transformer.TransformerConfig:
    """Returns the config of a transformer of CLIP.

    Args:
      width: width of the residual stream.
      layers: number of blocks.
      heads: attention heads.
      **options: other fields of the config.
    """
    return transformer.TransformerConfig(
      width=width,
      layers=layers,
      heads=heads,
      mlp_width=4 * width,
      activation=_ACTIVATIONS[self.activation],
      epsilon=1e-5,
      **options,
    )
