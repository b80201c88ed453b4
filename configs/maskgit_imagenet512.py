"""MaskGIT on ImageNet at 512 x 512, as published: 173,047,017 parameters.

Paper: MaskGIT, https://arxiv.org/abs/2202.04200. It reports FID 7.32 and an
inception score of 156.0 with 12 steps. `maskgit_imagenet256.py` says where the
paper and the released code differ. The tokenizer is the one trained at
256 x 256. Sized for a TPU v3-32.

    vqjax convert maskgit-tokenizer tokenizer_imagenet512_checkpoint \
        --out runs/maskgit_tokenizer512
    python -m train.main --config configs/maskgit_imagenet512.py \
        --workdir runs/maskgit512
"""

from configs import common
from configs import maskgit_imagenet256

PARAMETERS = 173_047_017
LEARNS_FROM = {'autoencoder': 'maskgit_tokenizer_imagenet256'}


def get_config(variant: str = '') -> dict:
  """Returns the config; 'smoke' is a test of a few seconds."""
  config = common.merge(
    maskgit_imagenet256.get_config(),
    dict(
      autoencoder='runs/maskgit_tokenizer512',
      sampler=dict(steps=12),
      data=common.imagenet(
        512,
        batch_size=256,
        train_preprocess=(
          dict(type='random_resized_crop', size=512),
          *common.FLIP,
        ),
      ),
    ),
  )
  return common.variant(variant, config, maskgit_imagenet256.SMOKE)
