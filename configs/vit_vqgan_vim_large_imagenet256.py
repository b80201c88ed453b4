"""The prior of ViT-VQGAN (VIM), large, on 32 x 32 tokens of ImageNet.

Paper: Vector-quantized Image Modeling with Improved VQGAN,
https://arxiv.org/abs/2110.04627. It reports FID 4.17 and an inception
score of 175.1
at temperature 1 without top-k or top-p. The number of heads and the width of
the MLP are recalled, not confirmed. Its learning rate decays exponentially from
step 80,000; here it follows a cosine after the warm-up. Sized for a TPU v4-256.

    python -m train.main --config configs/vit_vqgan_vim_large_imagenet256.py \
        --workdir runs/vim_large --config.autoencoder=runs/vit_vqgan
"""

from configs import common
from configs import vit_vqgan_vim_base_imagenet256

PARAMETERS = 1_848_635_392
LEARNS_FROM = {'autoencoder': 'vit_vqgan_small_imagenet256'}


def get_config(variant: str = '') -> dict:
  """Returns the config; 'smoke' is a test of a few seconds."""
  config = common.merge(
    vit_vqgan_vim_base_imagenet256.get_config(),
    dict(
      model=dict(
        transformer=dict(heads=32, layers=36, mlp_width=8192, width=2048)
      )
    ),
  )
  return common.variant(variant, config, vit_vqgan_vim_base_imagenet256.SMOKE)
