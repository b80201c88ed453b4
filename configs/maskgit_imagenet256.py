"""MaskGIT on ImageNet at 256 x 256, as published: 172,457,193 parameters.

Paper: MaskGIT, https://arxiv.org/abs/2202.04200. It reports FID 6.18 and an
inception score of 182.1 with 8 steps; the released weights reach FID 4.92 with
12 steps in the ADM evaluation suite. Paper and released config differ in the
number of heads (8 and 16) and in the length of training (300 epochs and 2 M
steps); this config has the released values. The loss averages the tokens of
each example first, as the released code does; the paper sums over them. The
released code reads neither `min_masking_rate` 0.5 nor `polyak_decay` 0.999 of
its config, so masking ratios are not bounded and weights are not averaged here.
Sized for a TPU v3-16.

    vqjax convert maskgit-tokenizer tokenizer_imagenet256_checkpoint \
        --out runs/maskgit_tokenizer
    python -m train.main --config configs/maskgit_imagenet256.py \
        --workdir runs/maskgit

The released model has no null class. `--config.loss.label_drop=0.1` trains one,
which classifier-free guidance needs. `vqjax tokenize` encodes the images once
and for all.
"""

from configs import common

PARAMETERS = 172_457_193
SMOKE = common.SMOKE_TRANSFORMER
LEARNS_FROM = {'autoencoder': 'maskgit_tokenizer_imagenet256'}


def get_config(variant: str = '') -> dict:
  """Returns the config; 'smoke' is a test of a few seconds."""
  config = dict(
    task='maskgit',
    autoencoder='runs/maskgit_tokenizer',
    data=common.imagenet(
      256,
      batch_size=256,
      train_preprocess=(
        dict(type='random_resized_crop', size=256),
        *common.FLIP,
      ),
    ),
    # A step without a scan takes less time: see docs/results/speed.md.
    model=dict(type='maskgit', transformer=dict(scan=False)),
    loss=dict(loss_reduction='examples', label_drop=0.0),
    sampler=dict(rounding='float32'),
    optim=dict(
      learning_rate=0.0001,
      schedule='constant',
      warmup=dict(steps=5000),
      b2=0.96,
      weight_decay=0.045,
    ),
    train=common.long_training(total_steps=2_000_000),
  )
  return common.variant(variant, config, SMOKE)
