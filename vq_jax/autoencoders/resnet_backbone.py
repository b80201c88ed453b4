"""The towers of VQGAN (Esser et al. 2021) and of MaskGIT's tokenizer.

One pair of modules for both: CompVis/taming-transformers and
google-research/maskgit differ in fields alone. The defaults are the former's
with stride 16.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax.layers import checked
from vq_jax.layers import resnet
from vq_jax.utils import fields


def _parts(tower: nn.Module):
  """Returns what makes a residual block, an attention block and a norm."""
  fields = {
    'groups': tower.groups,
    'epsilon': tower.epsilon,
    'dtype': tower.dtype,
    'param_dtype': tower.param_dtype,
  }
  block, attention = resnet.ResNetBlock, resnet.AttentionBlock
  if tower.remat:
    block, attention = nn.remat(block), nn.remat(attention)
  return (
    functools.partial(
      block, shortcut=tower.shortcut, use_bias=tower.block_bias, **fields
    ),
    functools.partial(attention, **fields),
    functools.partial(resnet.NormSwish, **fields),
  )


def _middle(tower: nn.Module, channels: int, x: jax.Array) -> jax.Array:
  """Applies the blocks between a tower's levels and the codes."""
  block, attention, _ = _parts(tower)
  for j in range(tower.middle_blocks):
    x = block(channels, name=f'middle_block_{j}')(x)
    if j == 0 and tower.middle_attention:
      x = attention(name='middle_attention')(x)
  return x


def _level(tower: nn.Module, level: int, x: jax.Array) -> jax.Array:
  """Applies the blocks of the level whose stride is 2 ** level."""
  block, attention, _ = _parts(tower)
  channels = tower.channels * tower.multipliers[level]
  for j in range(tower.blocks):
    x = block(channels, name=f'level_{level}_block_{j}')(x)
    if 2**level in tower.attention_strides:
      x = attention(name=f'level_{level}_attention_{j}')(x)
  return x


def _check(tower: nn.Module) -> None:
  """Raises ValueError if an attention has no level."""
  strides = [2**i for i in range(len(tower.multipliers))]
  if not set(tower.attention_strides) <= set(strides):
    raise ValueError(
      f'attention_strides must be strides of the levels, {strides}; got '
      f'{tower.attention_strides}. multipliers has an entry per level.'
    )


class ResNetEncoder(checked.CheckedModule):
  """Levels of residual blocks, each at half the size of the one before.

  Attributes:
    channels: width of the first convolution.
    multipliers: width of each level, in `channels`; the stride is
      2 ** (len(multipliers) - 1).
    blocks: residual blocks per level.
    middle_blocks: residual blocks after the last level.
    attention_strides: the levels, by their stride, that have attention after
      every block: the image's side over taming's `attn_resolutions`.
    middle_attention: whether attention follows the first middle block.
    downsampling: see `resnet.Downsample`.
    shortcut: see `resnet.ResNetBlock`.
    block_bias: whether the convolutions of the blocks, and the first of all,
      have biases (taming: yes, MaskGIT: no).
    out_channels: width of a last 3x3 (taming's `z_channels`); None ends at the
      norm before it, as MaskGIT's does.
    groups: of the norms.
    epsilon: of the norms.
    remat: recompute activations in the backward pass, to save memory.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
  """

  channels: fields.PositiveInt = 128
  multipliers: tuple[fields.PositiveInt, ...] = (1, 1, 2, 2, 4)
  blocks: fields.NonNegativeInt = 2
  middle_blocks: fields.NonNegativeInt = 2
  attention_strides: tuple[fields.PositiveInt, ...] = (16,)
  middle_attention: bool = True
  downsampling: resnet.Downsampling = 'strided'
  shortcut: resnet.Shortcut = 'input'
  block_bias: bool = True
  out_channels: fields.PositiveInt | None = 256
  groups: fields.PositiveInt = 32
  epsilon: fields.PositiveFloat = 1e-6
  remat: bool = False
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32

  @property
  def stride(self) -> int:
    """Pixels per latent along a side."""
    return 2 ** (len(self.multipliers) - 1)

  @nn.compact
  def __call__(self, image: jax.Array) -> jax.Array:
    """Maps float [B, H, W, C] to [B, H / stride, W / stride, D'].

    D' is `out_channels`, or `channels * multipliers[-1]` without them.
    """
    _check(self)
    types = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    x = nn.Conv(
      self.channels, (3, 3), use_bias=self.block_bias, name='conv_in', **types
    )(image)
    last = len(self.multipliers) - 1
    for level in range(last + 1):
      x = _level(self, level, x)
      if level < last:
        x = resnet.Downsample(
          self.downsampling, name=f'level_{level}_down', **types
        )(x)
    x = _middle(self, self.channels * self.multipliers[-1], x)
    *_, norm = _parts(self)
    x = norm(name='norm_out')(x)
    if self.out_channels is None:
      return x
    return nn.Conv(self.out_channels, (3, 3), name='conv_out', **types)(x)


class ResNetDecoder(checked.CheckedModule):
  """The mirror of `ResNetEncoder`; levels are named by their stride there too.

  Attributes:
    out_channels: channels of the image.
    channels: as in the encoder.
    multipliers: as in the encoder, the finest level first.
    blocks: residual blocks per level (taming: one more than its encoder).
    middle_blocks: residual blocks before the levels.
    attention_strides: as in the encoder.
    middle_attention: whether attention follows the first middle block.
    shortcut: see `resnet.ResNetBlock`.
    block_bias: whether the convolutions of the blocks have biases.
    in_channels: width of a 1x1 on the codes (taming's `post_quant_conv`); None
      leaves it out, as MaskGIT does.
    groups: of the norms.
    epsilon: of the norms.
    remat: recompute activations in the backward pass, to save memory.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
  """

  out_channels: fields.PositiveInt = 3
  channels: fields.PositiveInt = 128
  multipliers: tuple[fields.PositiveInt, ...] = (1, 1, 2, 2, 4)
  blocks: fields.NonNegativeInt = 3
  middle_blocks: fields.NonNegativeInt = 2
  attention_strides: tuple[fields.PositiveInt, ...] = (16,)
  middle_attention: bool = True
  shortcut: resnet.Shortcut = 'input'
  block_bias: bool = True
  in_channels: fields.PositiveInt | None = 256
  groups: fields.PositiveInt = 32
  epsilon: fields.PositiveFloat = 1e-6
  remat: bool = False
  dtype: jnp.dtype = jnp.float32
  param_dtype: jnp.dtype = jnp.float32

  @property
  def stride(self) -> int:
    """Pixels per latent along a side."""
    return 2 ** (len(self.multipliers) - 1)

  @property
  def last_layer(self) -> str:
    """Name of the layer that gives the pixels."""
    return 'conv_out'

  @nn.compact
  def __call__(self, codes: jax.Array) -> jax.Array:
    """Maps [B, h, w, D] to [B, h * stride, w * stride, out_channels]."""
    _check(self)
    types = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
    x = codes
    if self.in_channels is not None:
      x = nn.Dense(self.in_channels, name='from_code', **types)(x)
    width = self.channels * self.multipliers[-1]
    x = nn.Conv(width, (3, 3), name='conv_in', **types)(x)
    x = _middle(self, width, x)
    for level in reversed(range(len(self.multipliers))):
      x = _level(self, level, x)
      if level:
        x = resnet.Upsample(name=f'level_{level}_up', **types)(x)
    *_, norm = _parts(self)
    x = norm(name='norm_out')(x)
    return nn.Conv(self.out_channels, (3, 3), name='conv_out', **types)(x)
