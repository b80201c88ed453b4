"""VQ-VAE as in its paper on CIFAR-10: ten codes in each of 8 x 8 latents.

Paper: Neural Discrete Representation Learning, https://arxiv.org/abs/1711.00937
(section 4.1: Adam, learning rate 2e-4, batch 128, 250,000 steps). It reports
4.67 bits per dimension, the sum of the tokens' bits under their prior and of
the image's given the tokens. `decoder_bits_per_dim` is the second part, and a
prior (`pixelcnn_cifar10.py`) reports the sum. How the ten codes share a latent
is not published; here each has a tenth of its numbers. Sized for one GPU.

    python -m train.main --config configs/vqvae_2017_cifar10.py \
        --workdir runs/vqvae_2017

TFDS downloads CIFAR-10 on first use.
"""

from configs import common

PARAMETERS = 4_766_884
SMOKE = dict(model=dict(channels=16))


def get_config(variant: str = '') -> dict:
  """Returns the config; 'smoke' is a test of a few seconds."""
  config = dict(
    task='autoencoder',
    data=common.cifar10(batch_size=128),
    model=dict(
      type='vqvae_2017',
      likelihood=dict(type='discretized_logistic'),
      quantizer=dict(
        type='grouped',
        groups=10,
        quantizer=dict(type='vq', code_dim=16, codebook_size=512),
      ),
    ),
    loss=dict(l2=0.0, nll=1.0),
    optim=dict(learning_rate=0.0002, schedule='constant'),
    train=dict(total_steps=250_000, save_every=dict(percent=10)),
  )
  return common.variant(variant, config, SMOKE)
