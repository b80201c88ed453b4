"""The bottom prior of VQ-VAE-2 on ImageNet: 64 x 64 tokens given 32 x 32.

Paper: Generating Diverse High-Fidelity Images with VQ-VAE-2,
https://arxiv.org/abs/1906.00446. It reports 3.45 nats (4.98 bits) per token
after 754,000 steps of batch 512, and with the top prior an FID of 31.1 (quoted
by MaskGIT). The sizes are recalled, not confirmed. Sized for a TPU v3-128.

    python -m train.main --config configs/vqvae2_bottom_imagenet256.py \
        --workdir runs/vqvae2_bottom --config.autoencoder=runs/vqvae2 \
        --config.parent_prior=runs/vqvae2_top
    vqjax generate runs/vqvae2_bottom

The run keeps a copy of the top prior and samples both levels.
"""

from configs import common

PARAMETERS = 528_804_864
SMOKE = dict(
  model=dict(
    blocks=1,
    channels=8,
    parent_layers=1,
    residual_channels=8,
    residual_layers=1,
  )
)
LEARNS_FROM = {
  'autoencoder': 'vqvae2_imagenet256',
  'parent_prior': 'vqvae2_top_imagenet256',
}


def get_config(variant: str = '') -> dict:
  """Returns the config; 'smoke' is a test of a few seconds."""
  config = dict(
    task='autoregressive',
    autoencoder='runs/vqvae2',
    parent_prior='runs/vqvae2_top',
    level=1,
    data=common.imagenet(256, batch_size=512),
    model=dict(
      type='pixelsnail',
      heads=0,
      output_layers=0,
      remat=True,
      residual_channels=1024,
    ),
    loss=dict(label_drop=0.0),
    optim=dict(learning_rate=0.0003, schedule='constant'),
    train=common.long_training(total_steps=754_000),
  )
  return common.variant(variant, config, SMOKE)
