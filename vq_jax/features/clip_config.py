"""The sizes of a CLIP."""

import dataclasses
from typing import Any
from typing import Literal

from vq_jax.layers import transformer
from vq_jax.utils import fields

# Mean and standard deviation of the pixels of OpenAI's training images.
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
EPSILON = 1e-5  # of the LayerNorms
_ACTIVATIONS: dict[str, Any] = {
  'gelu': 'gelu_exact',
  'quick_gelu': 'quick_gelu',
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ViTConfig:
  """A Vision Transformer (https://arxiv.org/abs/2010.11929); ViT-B/32 here.

  Attributes:
    patch: side of a patch in pixels, the P in the name 'ViT-B/P'.
    width: width of the residual stream.
    layers: number of blocks.
    heads: attention heads; the released models have `width / 64`.
    mlp_width: width of the hidden layer of the MLPs; `4 * width` by default.
  """

  patch: fields.PositiveInt = 32
  width: fields.PositiveInt = 768
  layers: fields.NonNegativeInt = 12
  heads: fields.PositiveInt = 12
  mlp_width: fields.PositiveInt | None = None

  def __post_init__(self):
    fields.check(self)

  @property
  def attention_width(self) -> int:
    """The width of the tokens that attention reads."""
    return self.width


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

  @property
  def attention_width(self) -> int:
    """The channels of the last stage, which attention pools."""
    return 32 * self.width


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
    text_mlp_width: width of the hidden layer of its MLPs; `4 * text_width` by
      default.
    context_length: the largest number of tokens of a text.
    vocab_size: number of tokens. The last one ends a text.
    end_token: id whose first occurrence ends a text. None stands for the
      largest id of each text, the rule of OpenAI; the two differ only in
      models whose vocabulary has ids above that of the end.
    activation: activation of the transformers: 'quick_gelu' is
      x * sigmoid(1.702 x), of OpenAI's weights; 'gelu' is the exact GELU.
    mean: mean of the pixels in [0, 1] by which images are normalised.
    std: their standard deviation. Some models of open_clip have 0.5 for both.

  Raises:
    ValueError: if a value is out of range, a width is no multiple of its heads,
      or the image size none of the patch (of 32 for a ResNet).

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
  text_mlp_width: fields.PositiveInt | None = None
  context_length: fields.PositiveInt = 77
  vocab_size: fields.PositiveInt = 49408
  end_token: fields.NonNegativeInt | None = None
  activation: Literal['gelu', 'quick_gelu'] = 'quick_gelu'
  mean: tuple[float, float, float] = MEAN
  std: tuple[
    fields.PositiveFloat, fields.PositiveFloat, fields.PositiveFloat
  ] = STD

  def __post_init__(self):
    fields.check(self)
    for name, width, heads in (
      ('image', self.vision.attention_width, self.vision.heads),
      ('text', self.text_width, self.text_heads),
    ):
      if width % heads:
        raise ValueError(
          f'the width {width} of the {name} encoder must be a multiple of its '
          f'heads; got {heads}.'
        )
    if self.image_size % self.stride:
      raise ValueError(
        f'image_size must be a multiple of {self.stride}, the pixels of a cell '
        f'of the image encoder; got {self.image_size}.'
      )

  @property
  def stride(self) -> int:
    """The side of a cell of the last grid of the image encoder, in pixels."""
    return self.vision.patch if isinstance(self.vision, ViTConfig) else 32

  @property
  def grid(self) -> int:
    """The side of that grid."""
    return self.image_size // self.stride

  def image_transformer(self, **options) -> transformer.TransformerConfig:
    """Returns the config of the blocks of a Vision Transformer.

    Args:
      **options: other fields, such as `remat` and `dtype`.
    """
    vision = self.vision
    assert isinstance(vision, ViTConfig)
    return transformer.TransformerConfig(
      width=vision.width,
      layers=vision.layers,
      heads=vision.heads,
      mlp_width=vision.mlp_width or 4 * vision.width,
      activation=_ACTIVATIONS[self.activation],
      epsilon=EPSILON,
      **options,
    )

  def text_transformer(self, **options) -> transformer.TransformerConfig:
    """Returns the config of the blocks of the text encoder.

    Args:
      **options: other fields, such as `remat` and `dtype`.
    """
    return transformer.TransformerConfig(
      width=self.text_width,
      layers=self.text_layers,
      heads=self.text_heads,
      mlp_width=self.text_mlp_width or 4 * self.text_width,
      activation=_ACTIVATIONS[self.activation],
      epsilon=EPSILON,
      **options,
    )
