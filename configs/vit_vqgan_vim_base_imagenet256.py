"""The prior of ViT-VQGAN (VIM), base, on 32 x 32 tokens of ImageNet.

Paper: Vector-quantized Image Modeling with Improved VQGAN,
https://arxiv.org/abs/2110.04627. It reports FID 8.81 and an inception
score of 110.8
at temperature 1 without top-k or top-p. The number of heads and the width of
the MLP are recalled, not confirmed. Its learning rate decays exponentially from
step 80,000; here it follows a cosine after the warm-up. Sized for a TPU v3-128.

    python -m train.main --config configs/vit_vqgan_vim_base_imagenet256.py \
        --workdir runs/vim_base --config.autoencoder=runs/vit_vqgan
"""

from configs import common

PARAMETERS = 706_759_680
SMOKE = common.SMOKE_TRANSFORMER
LEARNS_FROM = {'autoencoder': 'vit_vqgan_base_imagenet256'}


def get_config(variant: str = '') -> dict:
  """Returns the config; 'smoke' is a test of a few seconds."""
  config = dict(
    task='autoregressive',
    autoencoder='runs/vit_vqgan',
    data=common.imagenet(256, batch_size=1024),
    model=dict(
      type='autoregressive',
      positions='learned_2d',
      transformer=dict(heads=24, mlp_width=6144, remat=True, width=1536),
    ),
    loss=dict(label_drop=0.0),
    optim=dict(
      learning_rate=0.00045,
      warmup=dict(steps=5000),
      final_scale=0.022,
      b2=0.96,
      weight_decay=0.045,
    ),
    train=common.long_training(total_steps=450_000),
  )
  return common.variant(variant, config, SMOKE)
