"""VQ-VAE-2 on ImageNet at 256 x 256: 32 x 32 tokens above 64 x 64.

Paper: Generating Diverse High-Fidelity Images with VQ-VAE-2,
https://arxiv.org/abs/1906.00446. It reports a decoder MSE of 0.0047 in training
and 0.0050 in validation after 2.2 million steps of batch 128. Dead codes are
revived, which the paper does not do;
`--config.model.quantizer.dead_code_threshold=0` turns it off. Sized for eight
GPUs or a TPU v3-8.

    python -m train.main --config configs/vqvae2_imagenet256.py \
        --workdir runs/vqvae2
"""

from configs import common

PARAMETERS = 1_921_667
SMOKE = dict(model=dict(channels=16, residual_channels=8))


def get_config(variant: str = '') -> dict:
  """Returns the config; 'smoke' is a test of a few seconds."""
  config = dict(
    task='autoencoder',
    data=common.imagenet(256, batch_size=128),
    model=dict(
      type='vqvae2',
      quantizer=dict(
        type='ema_vq', code_dim=64, codebook_size=512, dead_code_threshold=0.03
      ),
      residual_channels=64,
    ),
    optim=dict(learning_rate=0.0003, schedule='constant'),
    train=common.long_training(total_steps=2_207_444),
  )
  return common.variant(variant, config, SMOKE)
