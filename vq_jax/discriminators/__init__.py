"""Image -> how real it looks: what an autoencoder may learn against.

`discriminator(image) -> logits`, [B] for the image or [B, h, w] for its
patches; large is real. Real and reconstructed images go in by separate calls:
what looks at the batch (batch norm, minibatch standard deviation) would mix
them, and tell one by the company of the other.
"""

from vq_jax.discriminators.patchgan import PatchGAN
from vq_jax.discriminators.stylegan import StyleGAN

__all__ = ['PatchGAN', 'StyleGAN']
