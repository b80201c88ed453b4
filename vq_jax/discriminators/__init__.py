"""Discriminators for adversarial training of autoencoders.

`discriminator(image) -> logits`, [B] for images or [B, h, w] for their patches,
large for real images. Call it separately for real and for reconstructed images:
batch norm and the minibatch standard deviation mix the images of a batch.
"""

from vq_jax.discriminators.patchgan import PatchGAN
from vq_jax.discriminators.stylegan import StyleGAN

__all__ = ['PatchGAN', 'StyleGAN']
