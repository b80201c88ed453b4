"""LlamaGen's VQ-16 on ImageNet at 256 x 256: 16,384 codes of width 8.

Paper: Autoregressive Model Beats Diffusion: Llama for Scalable Image
Generation, https://arxiv.org/abs/2406.06525. It reports a reconstruction FID of
2.19. Its L2 loss is that of pixels in [-1, 1], hence the weight 4 here. Its
argument for weight decay, 0.05, never reaches Adam, so there is none here. Its
discriminator starts to learn at step 20,000, together with the adversarial
loss; here it learns 2,000 steps earlier
(`--config.adversary.discriminator_start=None` restores theirs). Sized for
eight GPUs or a TPU v3-8.

    python -m train.main --config configs/llamagen_vq16_imagenet256.py \
        --workdir runs/llamagen_vq16

The perceptual loss needs `python -m vq_jax.features lpips_vgg16`.
"""

from configs import common

PARAMETERS = 71_883_403
SMOKE = common.merge(
  common.SMOKE_VQGAN, common.SMOKE_PATCHGAN, dict(model=dict(z_channels=32))
)


def get_config(variant: str = '') -> dict:
  """Returns the config; 'smoke' is a test of a few seconds."""
  config = dict(
    task='adversarial',
    data=common.imagenet(
      256,
      batch_size=128,
      train_preprocess=(
        dict(type='random_resize', smallest=256, largest=320),
        dict(type='random_crop', size=256),
        dict(type='random_flip'),
      ),
    ),
    model=dict(
      type='llamagen_vq16',
      dtype='bfloat16',
      quantizer=dict(
        type='vq',
        code_dim=8,
        codebook_init='llamagen',
        codebook_size=16_384,
        l2_normalize=True,
      ),
    ),
    loss=dict(l2=4.0, lpips=1.0),
    adversary=dict(
      discriminator=dict(type='patchgan'),
      weight=0.5,
      start=dict(steps=20_000),
      discriminator_start=dict(steps=18_000),
    ),
    optim=dict(
      learning_rate=0.0001, schedule='constant', b2=0.95, clip_norm=1.0
    ),
    train=common.long_training(total_epochs=40),
  )
  return common.variant(variant, config, SMOKE)
