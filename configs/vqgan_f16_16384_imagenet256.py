"""VQGAN f16 with 16,384 codes on ImageNet at 256 x 256: 16 x 16 tokens.

Paper: Taming Transformers for High-Resolution Image Synthesis,
https://arxiv.org/abs/2012.09841. It reports a reconstruction FID of 4.98 on the
validation set. Weight, depth and start of the discriminator are those of the
config released with these weights; everything else is that of
`vqgan_f16_1024_imagenet256.py`.

    python -m train.main --config configs/vqgan_f16_16384_imagenet256.py \
        --workdir runs/vqgan
"""

from configs import common
from configs import vqgan_f16_1024_imagenet256

PARAMETERS = 76_073_859


def get_config(variant: str = '') -> dict:
  """Returns the config; 'smoke' is a test of a few seconds."""
  config = common.merge(
    vqgan_f16_1024_imagenet256.get_config(),
    dict(
      model=dict(quantizer=dict(codebook_size=16_384)),
      adversary=dict(
        discriminator=dict(layers=2),
        weight=0.75,
        start=dict(steps=0),
        discriminator_start=dict(steps=0),
      ),
    ),
  )
  return common.variant(variant, config, vqgan_f16_1024_imagenet256.SMOKE)
