"""ViT-VQGAN small-large on ImageNet at 256 x 256: 32 x 32 of 8,192 codes.

Paper: Vector-quantized Image Modeling with Improved VQGAN,
https://arxiv.org/abs/2110.04627. A small encoder with a large
decoder reaches a reconstruction FID of 1.28.
Everything else is that of `vit_vqgan_base_imagenet256.py`.

    python -m train.main --config configs/vit_vqgan_large_imagenet256.py \
        --workdir runs/vit_vqgan
"""

from configs import common
from configs import vit_vqgan_base_imagenet256

PARAMETERS = 664_944_934


def get_config(variant: str = '') -> dict:
  """Returns the config; 'smoke' is a test of a few seconds."""
  config = common.merge(
    vit_vqgan_base_imagenet256.get_config(),
    dict(model=dict(encoder_size='small', decoder_size='large')),
  )
  return common.variant(variant, config, vit_vqgan_base_imagenet256.SMOKE)
