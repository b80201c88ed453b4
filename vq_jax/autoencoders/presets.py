"""Published autoencoders by name.

Each function takes any quantizer, and its docstring describes the published
one. The arguments for sizes have the published values as defaults.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from vq_jax.autoencoders import conv_backbone
from vq_jax.autoencoders import likelihoods
from vq_jax.autoencoders import resnet_backbone
from vq_jax.autoencoders import vqvae
from vq_jax.utils.dtypes import Dtypes


def vqvae_sonnet(
  quantizer: nn.Module,
  *,
  image_channels: int = 3,
  likelihood: nn.Module | None = None,
  dtype: jnp.dtype = jnp.float32,
  param_dtype: jnp.dtype = jnp.float32,
) -> vqvae.VQVAE:
  """The VQ-VAE of Sonnet's CIFAR-10 example.

  https://github.com/google-deepmind/sonnet: stride 4, 128 channels, two
  residual blocks of 32 channels, pixels in [-0.5, 0.5]. Its quantizer has 512
  codes of width 64, commitment weight 0.25 and `codebook_init` 'sonnet',
  trained by moving averages of decay 0.99 or by gradient descent. Kernels are
  initialised with variance 1 / fan-in; in Sonnet the truncation of the normal
  distribution reduces it to 0.77 of that.

  Args:
    quantizer: any quantizer.
    image_channels: number of channels of the image.
    likelihood: see `VQVAE`.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
  """
  types: Dtypes = {'dtype': dtype, 'param_dtype': param_dtype}
  return vqvae.VQVAE(
    encoder=conv_backbone.ConvEncoder(**types),
    quantizer=quantizer,
    decoder=conv_backbone.ConvDecoder(
      out_channels=likelihoods.outputs(likelihood, image_channels), **types
    ),
    value_range=(-0.5, 0.5),
    likelihood=likelihood,
  )


def vqvae_2017(
  quantizer: nn.Module,
  *,
  image_channels: int = 3,
  likelihood: nn.Module | None = None,
  channels: int = 256,
  dtype: jnp.dtype = jnp.float32,
  param_dtype: jnp.dtype = jnp.float32,
) -> vqvae.VQVAE:
  """VQ-VAE with the width of its paper (https://arxiv.org/abs/1711.00937, 4.1).

  The paper describes two strided 4x4 convolutions and two residual blocks of
  256 channels. The authors did not publish the code of this model. The layout
  and the pixel range are therefore those of their later example,
  `vqvae_sonnet`, in which the first convolution has half the width and a 3x3
  convolution precedes the blocks. The quantizer has 512 codes and commitment
  weight 0.25, and is trained by gradient descent.

  Args:
    quantizer: any quantizer.
    image_channels: number of channels of the image.
    likelihood: see `VQVAE`.
    channels: width of the features, also inside the residual blocks.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
  """
  fields: dict[str, Any] = {
    'channels': channels,
    'residual_channels': channels,
    'dtype': dtype,
    'param_dtype': param_dtype,
  }
  return vqvae.VQVAE(
    encoder=conv_backbone.ConvEncoder(**fields),
    quantizer=quantizer,
    decoder=conv_backbone.ConvDecoder(
      out_channels=likelihoods.outputs(likelihood, image_channels), **fields
    ),
    value_range=(-0.5, 0.5),
    likelihood=likelihood,
  )


def vqgan_taming(
  quantizer: nn.Module,
  *,
  image_channels: int = 3,
  channels: int = 128,
  multipliers: tuple[int, ...] = (1, 1, 2, 2, 4),
  blocks: int = 2,
  attention_strides: tuple[int, ...] = (16,),
  z_channels: int = 256,
  groups: int = 32,
  remat: bool = False,
  dtype: jnp.dtype = jnp.float32,
  param_dtype: jnp.dtype = jnp.float32,
) -> vqvae.VQVAE:
  """VQGAN with stride 16 (https://arxiv.org/abs/2012.09841, appendix A).

  The model of CompVis/taming-transformers, for pixels in [-1, 1].
  Its quantizer has 1,024 or 16,384 codes of width 256, `codebook_init`
  'taming', commitment weight 0.25; the released weights were trained with
  `legacy`. It has 72,141,699 or 76,073,859 parameters. Kernels are initialised
  with variance 1 / fan-in, and biases with 0; taming has PyTorch's defaults,
  U(-a, a) with a = 1 / sqrt(fan-in) for both, a third of that variance.

  Args:
    quantizer: any quantizer.
    image_channels: number of channels of the image.
    channels: width of the first level.
    multipliers: width of each level in units of `channels`; the stride is
      2 ** (len(multipliers) - 1).
    blocks: number of residual blocks per level of the encoder; the decoder has
      one more.
    attention_strides: strides of the levels with attention.
    z_channels: width of the encoder's output and of the decoder's input.
    groups: number of groups of the group norms.
    remat: whether activations are recomputed in the backward pass, which saves
      memory.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
  """
  fields: dict[str, Any] = {
    'channels': channels,
    'multipliers': multipliers,
    'attention_strides': attention_strides,
    'groups': groups,
    'remat': remat,
    'dtype': dtype,
    'param_dtype': param_dtype,
  }
  return vqvae.VQVAE(
    encoder=resnet_backbone.ResNetEncoder(
      blocks=blocks, out_channels=z_channels, **fields
    ),
    quantizer=quantizer,
    decoder=resnet_backbone.ResNetDecoder(
      out_channels=image_channels,
      blocks=blocks + 1,
      in_channels=z_channels,
      **fields,
    ),
  )


def llamagen_vq16(
  quantizer: nn.Module,
  *,
  image_channels: int = 3,
  channels: int = 128,
  multipliers: tuple[int, ...] = (1, 1, 2, 2, 4),
  blocks: int = 2,
  z_channels: int = 256,
  groups: int = 32,
  remat: bool = False,
  dtype: jnp.dtype = jnp.float32,
  param_dtype: jnp.dtype = jnp.float32,
) -> vqvae.VQVAE:
  """The tokenizer of LlamaGen (https://arxiv.org/abs/2406.06525, 2.1).

  Encoder and decoder are those of `vqgan_taming`, with attention in the level
  of the lowest resolution. Its VQ-8, of stride 8, has the multipliers
  (1, 2, 2, 4). The quantizer has 16,384 codes of width 8, `l2_normalize`,
  `codebook_init` 'llamagen' and commitment weight 0.25. It has 71.9 M
  parameters.

  Args:
    quantizer: any quantizer.
    image_channels: see `vqgan_taming`.
    channels: see `vqgan_taming`.
    multipliers: see `vqgan_taming`.
    blocks: see `vqgan_taming`.
    z_channels: see `vqgan_taming`.
    groups: see `vqgan_taming`.
    remat: see `vqgan_taming`.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
  """
  return vqgan_taming(
    quantizer,
    image_channels=image_channels,
    channels=channels,
    multipliers=multipliers,
    blocks=blocks,
    attention_strides=(2 ** (len(multipliers) - 1),),
    z_channels=z_channels,
    groups=groups,
    remat=remat,
    dtype=dtype,
    param_dtype=param_dtype,
  )


def maskgit_tokenizer(
  quantizer: nn.Module,
  *,
  image_channels: int = 3,
  channels: int = 128,
  multipliers: tuple[int, ...] = (1, 1, 2, 2, 4),
  blocks: int = 2,
  groups: int = 32,
  remat: bool = False,
  dtype: jnp.dtype = jnp.float32,
  param_dtype: jnp.dtype = jnp.float32,
) -> vqvae.VQVAE:
  """The tokenizer of MaskGIT (https://arxiv.org/abs/2202.04200).

  The model of google-research/maskgit: a VQGAN without attention, with average
  pooling in place of strided convolutions, and with the shortcut of
  `vq_jax.layers.resnet.ResNetBlock` on the block's output. Its quantizer has
  1,024 codes of width 256, `codebook_init` 'maskgit' and commitment weight
  0.25. It has 54,515,587 parameters in 168 arrays. Pixels are in [0, 1].

  Args:
    quantizer: any quantizer.
    image_channels: number of channels of the image.
    channels: width of the first level.
    multipliers: width of each level in units of `channels`; the stride is
      2 ** (len(multipliers) - 1).
    blocks: number of residual blocks per level, and of middle blocks.
    groups: number of groups of the group norms.
    remat: whether activations are recomputed in the backward pass, which saves
      memory.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
  """
  fields: dict[str, Any] = {
    'channels': channels,
    'multipliers': multipliers,
    'blocks': blocks,
    'middle_blocks': blocks,
    'attention_strides': (),
    'middle_attention': False,
    'shortcut': 'output',
    'block_bias': False,
    'groups': groups,
    'remat': remat,
    'dtype': dtype,
    'param_dtype': param_dtype,
  }
  return vqvae.VQVAE(
    encoder=resnet_backbone.ResNetEncoder(
      downsampling='average', out_channels=None, **fields
    ),
    quantizer=quantizer,
    decoder=resnet_backbone.ResNetDecoder(
      out_channels=image_channels, in_channels=None, **fields
    ),
    value_range=(0.0, 1.0),
  )
