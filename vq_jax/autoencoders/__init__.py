"""Images -> codes -> images: towers around a quantizer.

`autoencoder.encode(image) -> Quantized`, `decode(codes) -> image`,
`decode_indices(indices) -> image`.
"""

from vq_jax.autoencoders.conv_towers import ConvDecoder
from vq_jax.autoencoders.conv_towers import ConvEncoder
from vq_jax.autoencoders.patch_towers import PatchDecoder
from vq_jax.autoencoders.patch_towers import PatchEncoder
from vq_jax.autoencoders.presets import vqvae_sonnet
from vq_jax.autoencoders.vqvae import VQVAE

__all__ = [
  'ConvDecoder',
  'ConvEncoder',
  'PatchDecoder',
  'PatchEncoder',
  'VQVAE',
  'vqvae_sonnet',
]
