"""Images -> latent -> images: towers around a latent, plain or quantized.

`autoencoder.encode(image)` gives a `Quantized` latent, a plain one or a normal
distribution; `decode(codes) -> image`; with codes, `decode_indices(indices) ->
image`, and `code_grids` tells what the indices mean.
"""

from vq_jax.autoencoders.ae import AE
from vq_jax.autoencoders.base import CodeGrid
from vq_jax.autoencoders.conv_towers import ConvDecoder
from vq_jax.autoencoders.conv_towers import ConvEncoder
from vq_jax.autoencoders.likelihoods import Bernoulli
from vq_jax.autoencoders.likelihoods import DiscretizedLogistic
from vq_jax.autoencoders.likelihoods import Gaussian
from vq_jax.autoencoders.likelihoods import LogitLaplace
from vq_jax.autoencoders.likelihoods import PixelwiseLogistic
from vq_jax.autoencoders.logistic_mixture import LogisticMixture
from vq_jax.autoencoders.patch_towers import PatchDecoder
from vq_jax.autoencoders.patch_towers import PatchEncoder
from vq_jax.autoencoders.presets import llamagen_vq16
from vq_jax.autoencoders.presets import maskgit_tokenizer
from vq_jax.autoencoders.presets import vqgan_taming
from vq_jax.autoencoders.presets import vqvae_2017
from vq_jax.autoencoders.presets import vqvae_sonnet
from vq_jax.autoencoders.resnet_towers import ResNetDecoder
from vq_jax.autoencoders.resnet_towers import ResNetEncoder
from vq_jax.autoencoders.vae import VAE
from vq_jax.autoencoders.vit_presets import vit_vqgan
from vq_jax.autoencoders.vit_towers import ViTDecoder
from vq_jax.autoencoders.vit_towers import ViTEncoder
from vq_jax.autoencoders.vqvae import VQVAE
from vq_jax.autoencoders.vqvae2 import VQVAE2

__all__ = [
  'AE',
  'Bernoulli',
  'CodeGrid',
  'ConvDecoder',
  'ConvEncoder',
  'DiscretizedLogistic',
  'Gaussian',
  'LogisticMixture',
  'LogitLaplace',
  'PatchDecoder',
  'PatchEncoder',
  'PixelwiseLogistic',
  'ResNetDecoder',
  'ResNetEncoder',
  'VAE',
  'VQVAE',
  'VQVAE2',
  'ViTDecoder',
  'ViTEncoder',
  'llamagen_vq16',
  'maskgit_tokenizer',
  'vit_vqgan',
  'vqgan_taming',
  'vqvae_2017',
  'vqvae_sonnet',
]
