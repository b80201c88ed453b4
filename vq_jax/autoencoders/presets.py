"""Autoencoders by their published names.

Each takes any quantizer and names the published one. Fields that give a size
are there to be made smaller.
"""

import flax.linen as nn
import jax.numpy as jnp

from vq_jax.autoencoders import conv_backbone
from vq_jax.autoencoders import likelihoods
from vq_jax.autoencoders import resnet_backbone
from vq_jax.autoencoders import vqvae


def vqvae_sonnet(
  quantizer: nn.Module,
  *,
  image_channels: int = 3,
  likelihood: nn.Module | None = None,
  dtype: jnp.dtype = jnp.float32,
  param_dtype: jnp.dtype = jnp.float32,
) -> vqvae.VQVAE:
  """Sonnet's CIFAR-10 example: stride 4, 128 channels, two blocks of 32.

  Pixels lie in [-0.5, 0.5] inside, as there. Its quantizer has 512 codes of
  width 64 and commitment weight 0.25, as moving averages of decay 0.99 or by
  gradient, and `codebook_init` 'sonnet'. Kernels have variance 1 / fan-in here;
  Sonnet's, cut at two standard deviations without a correction, 0.77 of it.

  Args:
    quantizer: any quantizer.
    image_channels: channels of the image.
    likelihood: see `VQVAE`.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
  """
  types = {'dtype': dtype, 'param_dtype': param_dtype}
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
  """VQ-VAE at its paper's width (van den Oord et al. 2017, section 4.1).

  Two strided 4x4 convolutions, two residual blocks, 256 units in all of them
  but one: the authors published no code of this model, so the layout is that
  of their later example (`vqvae_sonnet`), whose first convolution has half the
  width and which has a 3x3 before the blocks. Sonnet's pixel range stands in
  for the unpublished one. The quantizer has 512 codes, commitment weight 0.25,
  trained by gradient.

  Args:
    quantizer: any quantizer.
    image_channels: channels of the image.
    likelihood: see `VQVAE`.
    channels: width of the features, also inside the residual blocks.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
  """
  fields = {
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
  """VQGAN f16 of CompVis/taming-transformers (Esser et al. 2021, appendix A).

  Its quantizer has 1,024 or 16,384 codes of width 256, `codebook_init`
  'taming', commitment weight 0.25; the released weights were trained with
  `legacy`. 72,141,699 and 76,073,859 parameters. Pixels lie in [-1, 1] inside.
  Kernels begin with variance 1 / fan-in and biases at 0 here; in PyTorch, whose
  defaults theirs are, both are uniform in +-1 / sqrt(fan-in), which is a third
  of that variance.

  Args:
    quantizer: any quantizer.
    image_channels: channels of the image.
    channels: width of the first level.
    multipliers: width of each level, in `channels`; stride 2 ** (levels - 1).
    blocks: residual blocks per level of the encoder; the decoder has one more.
    attention_strides: strides of the levels with attention.
    z_channels: width of the towers' ends.
    groups: of the norms.
    remat: recompute activations in the backward pass, to save memory.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
  """
  fields = {
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
  """The tokenizer of LlamaGen, stride 16 (Sun et al. 2024, section 2.1).

  The towers of `vqgan_taming`, with attention at the last level whatever its
  stride (multipliers (1, 2, 2, 4) make its VQ-8). Its quantizer normalises
  latents and codes: 16,384 codes of width 8, `codebook_init` 'llamagen',
  commitment weight 0.25. 71.9 M parameters.

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
  """The tokenizer of google-research/maskgit (Chang et al. 2022).

  A VQGAN without attention, with averages for strided convolutions, and with
  its shortcut on the block's output (see `resnet.ResNetBlock`). Its quantizer
  has 1,024 codes of width 256, `codebook_init` 'maskgit', commitment weight
  0.25. 54,515,587 parameters in 168 arrays. Pixels lie in [0, 1] inside, too.

  Args:
    quantizer: any quantizer.
    image_channels: channels of the image.
    channels: width of the first level.
    multipliers: width of each level, in `channels`; stride 2 ** (levels - 1).
    blocks: residual blocks per level, and between the towers' levels and ends.
    groups: of the norms.
    remat: recompute activations in the backward pass, to save memory.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
  """
  fields = {
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
