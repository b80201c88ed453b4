"""MaskGIT's tokenizer on ImageNet at 256 x 256: 16 x 16 tokens of 1,024 codes.

Paper: MaskGIT: Masked Generative Image Transformer,
https://arxiv.org/abs/2202.04200. The released weights reach a reconstruction
FID of 2.28. The training code was not released, so losses and weights are those
of the released config; the paper says that they are VQGAN's. The same config
names the distance of pooled features (`perceptual_loss_on_logit` is False) and
an average of the weights (`polyak_decay`). Two parts are replaced: the features
are EfficientNet-Lite0's instead of a ResNet-50's, and the L2 loss is that of
MAGVIT, MaskGIT's successor. Sized for a TPU v3-32 or 16 GPUs.

    python -m train.main --config configs/maskgit_tokenizer_imagenet256.py \
        --workdir runs/tokenizer

The perceptual loss needs `python -m vq_jax.features efficientnet_lite0`.
"""

from configs import common

PARAMETERS = 54_515_587
SMOKE = common.merge(common.SMOKE_VQGAN, common.SMOKE_STYLEGAN)


def get_config(variant: str = '') -> dict:
  """Returns the config; 'smoke' is a test of a few seconds."""
  config = dict(
    task='adversarial',
    data=common.imagenet(256, batch_size=256),
    model=dict(
      type='maskgit_tokenizer',
      quantizer=dict(
        type='vq',
        code_dim=256,
        codebook_init='maskgit',
        codebook_size=1024,
        entropy_weight=0.1,
      ),
    ),
    loss=dict(classifier=0.1, classifier_features='pooled'),
    adversary=dict(
      discriminator=dict(type='stylegan'), loss='non_saturating', r1=10.0
    ),
    optim=dict(
      learning_rate=0.0001,
      schedule='constant',
      b1=0.0,
      b2=0.99,
      ema_decay=0.999,
    ),
    train=common.long_training(total_steps=1_000_000),
  )
  return common.variant(variant, config, SMOKE)
