"""Images -> codes -> images: towers around a quantizer.

`autoencoder.encode(image) -> Quantized`, `decode(codes) -> image`,
`decode_indices(indices) -> image`.
"""

from vq_jax.autoencoders.conv_towers import ConvDecoder
from vq_jax.autoencoders.conv_towers import ConvEncoder
from vq_jax.autoencoders.patch_towers import PatchDecoder
from vq_jax.autoencoders.patch_towers import PatchEncoder
from vq_jax.autoencoders.presets import llamagen_vq16
from vq_jax.autoencoders.presets import maskgit_tokenizer
from vq_jax.autoencoders.presets import vqgan_taming
from vq_jax.autoencoders.presets import vqvae_2017
from vq_jax.autoencoders.presets import vqvae_sonnet
from vq_jax.autoencoders.resnet_towers import ResNetDecoder
from vq_jax.autoencoders.resnet_towers import ResNetEncoder
from vq_jax.autoencoders.vit_presets import vit_vqgan
from vq_jax.autoencoders.vit_towers import ViTDecoder
from vq_jax.autoencoders.vit_towers import ViTEncoder
from vq_jax.autoencoders.vqvae import VQVAE

__all__ = [
  'ConvDecoder',
  'ConvEncoder',
  'PatchDecoder',
  'PatchEncoder',
  'ResNetDecoder',
  'ResNetEncoder',
  'VQVAE',
  'ViTDecoder',
  'ViTEncoder',
  'llamagen_vq16',
  'maskgit_tokenizer',
  'vit_vqgan',
  'vqgan_taming',
  'vqvae_2017',
  'vqvae_sonnet',
]
