"""MaskGIT on the tokens of a folder of images.

    python -m train.main --config configs/folder_maskgit.py \
        --workdir runs/maskgit --config.autoencoder=runs/tokenizer \
        --config.data.source=folder:/path/to/images

Class sub-folders become classes. Paper: MaskGIT,
https://arxiv.org/abs/2202.04200. Sized for one GPU; there are no published
figures for it.
"""

from configs import common

PARAMETERS = 38_756_364  # with ten classes
SMOKE = common.merge(common.SMOKE_FOLDER, common.SMOKE_TRANSFORMER)
LEARNS_FROM = {'autoencoder': 'folder_tokenizer'}


def get_config(variant: str = '') -> dict:
  """Returns the config; 'smoke' is a test of a few seconds."""
  config = dict(
    task='maskgit',
    autoencoder='runs/tokenizer',
    data=common.folder(
      'images',
      64,
      batch_size=64,
      train_preprocess=common.random_crop(64, resized=72) + common.FLIP,
    ),
    model=dict(
      type='maskgit',
      transformer=dict(
        epsilon=1e-6, heads=8, layers=12, mlp_width=2048, norm='pre', width=512
      ),
    ),
    sampler=dict(guidance=2.0, steps=12),
    optim=dict(
      learning_rate=0.0003,
      warmup=dict(percent=2),
      b2=0.96,
      weight_decay=0.045,
      clip_norm=1.0,
      ema_decay=0.999,
    ),
    train=dict(
      total_epochs=300, eval_every=dict(percent=10), save_every=dict(percent=5)
    ),
  )
  return common.variant(variant, config, SMOKE)
