"""VQGAN f16 with 1,024 codes on ImageNet at 256 x 256: 16 x 16 tokens.

Paper: Taming Transformers for High-Resolution Image Synthesis,
https://arxiv.org/abs/2012.09841. It reports a reconstruction FID of 7.94 on the
validation set. Where the paper and its code differ, this config follows the
code: L1 instead of L2 of pixels in [-1, 1] (hence the weight 2 here), and a
weight of 0.25 on the codebook loss instead of the commitment loss (`legacy`).
Their discriminator starts to learn at step 250,001, together with the
adversarial loss; here it learns 10,000 steps earlier
(`--config.adversary.discriminator_start=None` restores theirs). Sized for eight
GPUs of 32 GB or a TPU v3-8.

    python -m train.main --config configs/vqgan_f16_1024_imagenet256.py \
        --workdir runs/vqgan

The perceptual loss needs `python -m vq_jax.features lpips_vgg16`.
"""

from configs import common

PARAMETERS = 72_141_699
SMOKE = common.merge(
  common.SMOKE_VQGAN,
  common.SMOKE_PATCHGAN,
  dict(model=dict(z_channels=32, attention_strides=(2,))),
)


def get_config(variant: str = '') -> dict:
  """Returns the config; 'smoke' is a test of a few seconds."""
  config = dict(
    task='adversarial',
    data=common.imagenet(
      256, batch_size=96, train_preprocess=common.random_crop(256)
    ),
    model=dict(
      type='vqgan_taming',
      quantizer=dict(
        type='vq',
        code_dim=256,
        codebook_init='taming',
        codebook_size=1024,
        legacy=True,
      ),
    ),
    loss=dict(l1=2.0, l2=0.0, lpips=1.0),
    adversary=dict(
      discriminator=dict(type='patchgan'),
      weight=0.8,
      adaptive=True,
      start=dict(steps=250_001),
      discriminator_start=dict(steps=240_001),
      update='alternating',
    ),
    optim=dict(learning_rate=0.000432, schedule='constant', b1=0.5, b2=0.9),
    train=common.long_training(total_steps=500_000),
  )
  return common.variant(variant, config, SMOKE)
