"""A variational autoencoder of 28 x 28 garments: 16 numbers per image.

Paper: Auto-Encoding Variational Bayes, https://arxiv.org/abs/1312.6114. The
bound in bits per dimension is the importance-weighted one of
https://arxiv.org/abs/1509.00519 with k = 50. Beta is 5, as in a beta-VAE
(https://openreview.net/forum?id=Sy2fzU9gl). With beta 1 the bound is better,
but the latents of images cover little of N(0, I), and images decoded from
N(0, I) are blurred mixtures of garments.

    python -m train.main --config configs/vae_fashion.py --workdir runs/vae

It trains on the images that come with the library, in about five minutes on two
CPU cores.
"""

from configs import common

PARAMETERS = 233_570
SMOKE = common.merge(common.SMOKE_FASHION, dict(loss=dict(iwae_samples=2)))


def get_config(variant: str = '') -> dict:
  """Returns the config; 'smoke' is a test of a few seconds."""
  config = dict(
    task='vae',
    data=common.fashion_mnist(
      batch_size=64,
    ),
    model=dict(
      type='vae',
      decoder=dict(type='patch_decoder', out_channels=1),
      encoder=dict(type='patch_encoder'),
      grid=(7, 7),
      latent_dim=16,
      likelihood=dict(type='discretized_logistic'),
    ),
    loss=dict(beta=5.0, kl_warmup=dict(percent=10)),
    optim=dict(
      learning_rate=0.002,
      warmup=dict(percent=2),
      b2=0.99,
      weight_decay=0.01,
      clip_norm=1.0,
    ),
    train=dict(
      total_steps=4000,
      log_every=dict(steps=200),
      save_every=dict(percent=12.5),
      num_images=10,
    ),
  )
  return common.variant(variant, config, SMOKE)
