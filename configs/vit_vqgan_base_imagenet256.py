"""ViT-VQGAN base on ImageNet at 256 x 256: 32 x 32 tokens of 8,192 codes.

Paper: Vector-quantized Image Modeling with Improved VQGAN,
https://arxiv.org/abs/2110.04627. It reports a reconstruction FID of 1.55. Its
code was not released. The paper gives the weight of the adversarial loss and
says that the discriminator is StyleGAN's; the rest follows the
re-implementation thuanz123/enhancing-transformers: the non-saturating loss, and
R1 every 16 steps. R1 has the weight 10 / 2 there, next to half of the
discriminator's loss, which equals 10 here. Dead codes are revived, which
neither does; `--config.model.quantizer.dead_code_threshold=0` turns it off.
Sized for a TPU v3-32 or 16 GPUs (the paper used 128 TPUv4).

    python -m train.main --config configs/vit_vqgan_base_imagenet256.py \
        --workdir runs/vit_vqgan

The perceptual loss needs `python -m vq_jax.features lpips_vgg16`.
"""

from configs import common

PARAMETERS = 176_550_438
SMOKE = common.merge(
  common.SMOKE_STYLEGAN,
  common.SMOKE_TRANSFORMER,
  dict(
    model=dict(quantizer=dict(codebook_size=64, code_dim=16)),
    loss=dict(lpips=0.0),
  ),
)


def get_config(variant: str = '') -> dict:
  """Returns the config; 'smoke' is a test of a few seconds."""
  config = dict(
    task='adversarial',
    data=common.imagenet(256, batch_size=256),
    model=dict(
      type='vit_vqgan',
      encoder_size='base',
      likelihood=dict(type='logit_laplace'),
      quantizer=dict(type='factorized_vq', codebook_size=8192),
      transformer=dict(remat=True),
    ),
    loss=dict(lpips=0.1, nll=0.1),
    adversary=dict(
      discriminator=dict(
        type='stylegan',
        channels=128,
        multipliers=(2, 4, 4, 4, 4, 4),
        stddev_group=4,
      ),
      loss='non_saturating',
      r1=10.0,
      r1_every=16,
    ),
    optim=dict(
      learning_rate=0.0001,
      warmup=dict(steps=50_000),
      final_scale=0.5,
      b2=0.99,
      weight_decay=0.0001,
    ),
    train=common.long_training(total_steps=500_000),
  )
  return common.variant(variant, config, SMOKE)
