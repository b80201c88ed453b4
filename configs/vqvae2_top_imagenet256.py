"""The top prior of VQ-VAE-2 on ImageNet: PixelSNAIL on 32 x 32 tokens.

Paper: Generating Diverse High-Fidelity Images with VQ-VAE-2,
https://arxiv.org/abs/1906.00446. It reports 3.40 nats per token in training and
3.41 (4.92 bits) in validation after 1.6 million steps of batch 1,024. The sizes
are recalled, not confirmed. Sized for a TPU v3-128.

    python -m train.main --config configs/vqvae2_top_imagenet256.py \
        --workdir runs/vqvae2_top --config.autoencoder=runs/vqvae2
"""

from configs import common

PARAMETERS = 914_502_656
SMOKE = dict(
  model=dict(
    blocks=1,
    channels=8,
    heads=2,
    output_layers=1,
    residual_channels=8,
    residual_layers=1,
  )
)
LEARNS_FROM = {'autoencoder': 'vqvae2_imagenet256'}


def get_config(variant: str = '') -> dict:
  """Returns the config; 'smoke' is a test of a few seconds."""
  config = dict(
    task='autoregressive',
    autoencoder='runs/vqvae2',
    data=common.imagenet(256, batch_size=1024),
    model=dict(type='pixelsnail', remat=True),
    loss=dict(label_drop=0.0),
    optim=dict(learning_rate=0.0003, schedule='constant'),
    train=common.long_training(total_steps=1_600_000),
  )
  return common.variant(variant, config, SMOKE)
