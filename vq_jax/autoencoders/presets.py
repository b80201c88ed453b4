"""Autoencoders by their published names."""

import flax.linen as nn
import jax.numpy as jnp

from vq_jax.autoencoders import conv_towers
from vq_jax.autoencoders import vqvae


def vqvae_sonnet(
  quantizer: nn.Module,
  *,
  image_channels: int = 3,
  dtype: jnp.dtype = jnp.float32,
  param_dtype: jnp.dtype = jnp.float32,
) -> vqvae.VQVAE:
  """Sonnet's CIFAR-10 example: stride 4, 128 channels, two blocks of 32.

  Pixels lie in [-0.5, 0.5] inside, as there. Its quantizer has 512 codes of
  width 64 and beta 0.25, as moving averages of decay 0.99 or by gradient.

  Args:
    quantizer: any quantizer.
    image_channels: channels of the image.
    dtype: dtype of the computation.
    param_dtype: dtype of the parameters.
  """
  types = {'dtype': dtype, 'param_dtype': param_dtype}
  return vqvae.VQVAE(
    encoder=conv_towers.ConvEncoder(**types),
    quantizer=quantizer,
    decoder=conv_towers.ConvDecoder(out_channels=image_channels, **types),
    value_range=(-0.5, 0.5),
  )
