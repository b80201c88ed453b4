"""The encoder and decoder of VQGAN and of MaskGIT's tokenizer.

CompVis/taming-transformers (https://arxiv.org/abs/2012.09841) and
google-research/maskgit (https://arxiv.org/abs/2202.04200) differ only in the
values of the fields. The defaults are those of VQGAN with stride 16.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.layers import checked
from vq_jax.layers import resnet
from vq_jax.utils import fields
from vq_jax.utils.dtypes import Dtypes


class ResNetBackbone(checked.CheckedModule):
  """The common part of `ResNetEncoder` and `ResNetDecoder`.

  Attributes:
    channels: width of the first level.
    multipliers: width of each level in units of `channels`, the one of the
      highest resolution first. The stride is 2 ** (len(multipliers) - 1).
    blocks: number of residual blocks per level.
    middle_blocks: number of residual blocks at the lowest resolution, beside
      those of its level.
    attention_strides: strides of the levels in which attention follows every
      block. In taming's configs `attn_resolutions` are the side of the image
      over these strides.
    middle_attention: whether attention follows the first middle block.
    shortcut: see `vq_jax.layers.resnet.ResNetBlock`.
    block_bias: whether the convolutions of the blocks have biases (taming:
      yes, MaskGIT: no).
    groups: number of groups of the group norms.
    epsilon: epsilon of the group norms.
    remat: whether activations are recomputed in the backward pass, which saves
      memory.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
  """

  channels: fields.PositiveInt = 128
  multipliers: tuple[fields.PositiveInt, ...] = (1, 1, 2, 2, 4)
  blocks: fields.NonNegativeInt = 2
  middle_blocks: fields.NonNegativeInt = 2
  attention_strides: tuple[fields.PositiveInt, ...] = (16,)
  middle_attention: bool = True
  shortcut: resnet.Shortcut = 'input'
  block_bias: bool = True
  groups: fields.PositiveInt = 32
  epsilon: fields.PositiveFloat = 1e-6
  remat: bool = False
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32

  @property
  def stride(self) -> int:
    """Pixels per latent along a side."""
    return 2 ** (len(self.multipliers) - 1)

  def _dtypes(self) -> Dtypes:
    return {'dtype': self.dtype, 'param_dtype': self.param_dtype}

  def _norm_fields(self) -> dict[str, Any]:
    return {
      'groups': self.groups,
      'epsilon': self.epsilon,
      **self._dtypes(),
    }

  def _block(self, channels: int, name: str, x: jax.Array) -> jax.Array:
    block = nn.remat(resnet.ResNetBlock) if self.remat else resnet.ResNetBlock
    return block(
      channels,
      shortcut=self.shortcut,
      use_bias=self.block_bias,
      name=name,
      **self._norm_fields(),
    )(x)

  def _attention(self, name: str, x: jax.Array) -> jax.Array:
    block = resnet.AttentionBlock
    block = nn.remat(block) if self.remat else block
    return block(name=name, **self._norm_fields())(x)

  def _middle(self, x: jax.Array) -> jax.Array:
    """Applies the middle blocks."""
    for j in range(self.middle_blocks):
      width = self.channels * self.multipliers[-1]
      x = self._block(width, f'middle_block_{j}', x)
      if j == 0 and self.middle_attention:
        x = self._attention('middle_attention', x)
    return x

  def _level(self, level: int, x: jax.Array) -> jax.Array:
    """Applies the blocks of the level of stride 2 ** level."""
    width = self.channels * self.multipliers[level]
    for j in range(self.blocks):
      x = self._block(width, f'level_{level}_block_{j}', x)
      if 2**level in self.attention_strides:
        x = self._attention(f'level_{level}_attention_{j}', x)
    return x

  def _norm_out(self, x: jax.Array) -> jax.Array:
    return resnet.NormSwish(name='norm_out', **self._norm_fields())(x)

  def _check_attention(self) -> None:
    """Raises ValueError if no level has a stride of `attention_strides`."""
    strides = [2**i for i in range(len(self.multipliers))]
    if not set(self.attention_strides) <= set(strides):
      raise ValueError(
        f'attention_strides must be strides of the levels, {strides}; got '
        f'{self.attention_strides}. multipliers has one entry per level.'
      )


class ResNetEncoder(ResNetBackbone):
  """Levels of residual blocks, each at half the resolution of the one before.

  `block_bias` also applies to the first convolution.

  Attributes:
    downsampling: see `vq_jax.layers.resnet.Downsample`.
    out_channels: width of a last 3x3 convolution (taming's `z_channels`); with
      None the encoder ends with the group norm before it, as MaskGIT's does.

  The other attributes are those of `ResNetBackbone`.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from vq_jax import autoencoders
    >>> encoder = autoencoders.ResNetEncoder(
    ...   channels=4, multipliers=(1, 2), blocks=1, attention_strides=(),
    ...   middle_blocks=0, out_channels=6, groups=2
    ... )
    >>> image = jnp.zeros((1, 8, 8, 3))
    >>> features, _ = encoder.init_with_output(jax.random.key(0), image)
    >>> features.shape
    (1, 4, 4, 6)
  """

  downsampling: resnet.Downsampling = 'strided'
  out_channels: fields.PositiveInt | None = 256

  @nn.compact
  def __call__(self, image: jax.Array) -> jax.Array:
    """Maps float [B, H, W, C] to [B, H / stride, W / stride, D'].

    D' is `out_channels`, or `channels * multipliers[-1]` if that is None.
    """
    self._check_attention()
    conv = functools.partial(nn.Conv, kernel_size=(3, 3), **self._dtypes())
    x = conv(self.channels, use_bias=self.block_bias, name='conv_in')(image)
    last = len(self.multipliers) - 1
    for level in range(last + 1):
      x = self._level(level, x)
      if level < last:
        x = resnet.Downsample(
          self.downsampling, name=f'level_{level}_down', **self._dtypes()
        )(x)
    x = self._norm_out(self._middle(x))
    if self.out_channels is None:
      return x
    return conv(self.out_channels, name='conv_out')(x)


class ResNetDecoder(ResNetBackbone):
  """The reverse of `ResNetEncoder`.

  Its levels, too, are named by the logarithm of their stride.

  Attributes:
    blocks: number of residual blocks per level; taming has one more than in
      its encoder.
    out_channels: number of channels of the image.
    in_channels: width of a 1x1 convolution on the codes (taming's
      `post_quant_conv`); None for no such layer, as in MaskGIT.

  The other attributes are those of `ResNetBackbone`.
  """

  blocks: fields.NonNegativeInt = 3
  out_channels: fields.PositiveInt = 3
  in_channels: fields.PositiveInt | None = 256

  @property
  def last_layer(self) -> str:
    """Name of the layer whose output is the image."""
    return 'conv_out'

  @nn.compact
  def __call__(self, codes: jax.Array) -> jax.Array:
    """Maps [B, h, w, D] to [B, h * stride, w * stride, out_channels]."""
    self._check_attention()
    conv = functools.partial(nn.Conv, kernel_size=(3, 3), **self._dtypes())
    x = codes
    if self.in_channels is not None:
      x = nn.Dense(self.in_channels, name='from_code', **self._dtypes())(x)
    x = conv(self.channels * self.multipliers[-1], name='conv_in')(x)
    x = self._middle(x)
    for level in reversed(range(len(self.multipliers))):
      x = self._level(level, x)
      if level:
        x = resnet.Upsample(name=f'level_{level}_up', **self._dtypes())(x)
    return conv(self.out_channels, name='conv_out')(self._norm_out(x))
