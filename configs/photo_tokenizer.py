"""VQGAN of photographs of 128 x 128 pixels, for two CPU cores: 16 x 16 tokens.

The recipe is that of VQGAN (https://arxiv.org/abs/2012.09841) with L2 instead
of L1: LPIPS, and PatchGAN with the adaptive weight. The first part of the
training, without a discriminator, is `photo_crops_tokenizer.py`, from whose
weights this one starts.

    python -m train.main --config configs/photo_tokenizer.py \
        --workdir runs/photo_tokenizer --config.init_from=runs/photo_crops \
        --config.data.source=folder:photos

`docs/results/photo_tokenizer.md` has the figures.
"""

from configs import common
from configs import photo_crops_tokenizer

PARAMETERS = 2_863_411
SMOKE = common.merge(common.SMOKE_VQGAN, common.SMOKE_PATCHGAN)
LEARNS_FROM = {'init_from': 'photo_crops_tokenizer'}


def get_config(variant: str = '') -> dict:
  """Returns the config; 'smoke' is a test of a few seconds."""
  config = common.merge(
    photo_crops_tokenizer.get_config(),
    dict(
      task='adversarial',
      init_from='runs/photo_crops',
      data=dict(batch_size=2, train_preprocess=common.FLIP, eval_preprocess=()),
      model=dict(quantizer=dict(revive_until_step=2300)),
      adversary=dict(
        discriminator=dict(type='patchgan', channels=32, layers=3),
        weight=0.2,
        adaptive=True,
        start=dict(steps=100),
        discriminator_start=dict(steps=0),
        warmup=dict(steps=200),
        optim=dict(learning_rate=2e-4, b1=0.5, b2=0.9),
      ),
      optim=dict(learning_rate=3e-4, schedule='cosine', final_scale=0.1),
      train=dict(total_steps=1000),
    ),
  )
  return common.variant(variant, config, SMOKE)
