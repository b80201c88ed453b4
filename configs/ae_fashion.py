"""A plain autoencoder of 28 x 28 garments: 16 numbers per image.

Paper: Reducing the Dimensionality of Data with Neural Networks (Hinton and
Salakhutdinov 2006, Science 313).

    python -m train.main --config configs/ae_fashion.py --workdir runs/ae

It trains on the images that come with the library, in about five minutes on two
CPU cores.
"""

from configs import common

PARAMETERS = 183_377


def get_config(variant: str = '') -> dict:
  """Returns the config; 'smoke' is a test of a few seconds."""
  config = dict(
    task='autoencoder',
    data=common.fashion_mnist(
      batch_size=64,
    ),
    model=dict(
      type='ae',
      decoder=dict(type='patch_decoder', out_channels=1),
      encoder=dict(type='patch_encoder'),
      grid=(7, 7),
      latent_dim=16,
    ),
    loss=dict(l2=10.0, quantizer=0.0),
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
  return common.variant(variant, config, common.SMOKE_FASHION)
