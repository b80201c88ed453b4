"""Autoencoders, which map images to latents and back.

`autoencoder.encode(image)` returns a `Quantized`, a `Latent` (AE) or a normal
distribution (VAE), and `decode(latents)` an image. An autoencoder with a
quantizer also has `decode_indices(indices)`, and `token_grids`, which describes
the indices.
"""

from vq_jax.autoencoders.ae import AE
from vq_jax.autoencoders.base import TokenGrid
from vq_jax.autoencoders.conv_backbone import ConvDecoder
from vq_jax.autoencoders.conv_backbone import ConvEncoder
from vq_jax.autoencoders.likelihoods import Bernoulli
from vq_jax.autoencoders.likelihoods import DiscretizedLogistic
from vq_jax.autoencoders.likelihoods import Gaussian
from vq_jax.autoencoders.likelihoods import LogitLaplace
from vq_jax.autoencoders.likelihoods import PixelwiseLogistic
from vq_jax.autoencoders.logistic_mixture import LogisticMixture
from vq_jax.autoencoders.patch_backbone import PatchDecoder
from vq_jax.autoencoders.patch_backbone import PatchEncoder
from vq_jax.autoencoders.presets import llamagen_vq16
from vq_jax.autoencoders.presets import maskgit_tokenizer
from vq_jax.autoencoders.presets import vqgan_taming
from vq_jax.autoencoders.presets import vqvae_2017
from vq_jax.autoencoders.presets import vqvae_sonnet
from vq_jax.autoencoders.resnet_backbone import ResNetDecoder
from vq_jax.autoencoders.resnet_backbone import ResNetEncoder
from vq_jax.autoencoders.vae import VAE
from vq_jax.autoencoders.vit_backbone import ViTDecoder
from vq_jax.autoencoders.vit_backbone import ViTEncoder
from vq_jax.autoencoders.vit_presets import vit_vqgan
from vq_jax.autoencoders.vqvae import VQVAE
from vq_jax.autoencoders.vqvae2 import VQVAE2

__all__ = [
  'AE',
  'Bernoulli',
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
  'TokenGrid',
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
