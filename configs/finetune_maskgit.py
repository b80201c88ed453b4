"""Fine-tunes a trained or released MaskGIT on the classes of an image folder.

The tokens and all weights of the transformer are kept except for the class
embeddings, which are new. One more embedding stands for "no class", so
classifier-free guidance works. The model must be that of the run it starts
from, here the released one:

    vqjax convert maskgit --tokenizer tokenizer_imagenet256_checkpoint \
        --transformer maskgit_imagenet256_checkpoint --out runs/maskgit
    python -m train.main --config configs/finetune_maskgit.py \
        --workdir runs/finetuned --config.data.source=folder:/path/to/images

Class sub-folders become classes; a folder without sub-folders is one class. The
last 5 % of the images, after shuffling by name, are held out. Paper: MaskGIT,
https://arxiv.org/abs/2202.04200. Sized for one GPU; there are no published
figures for it.
"""

from configs import common

PARAMETERS = 171_687_425  # with ten classes
SMOKE = common.merge(
  common.SMOKE_FOLDER,
  common.SMOKE_TRANSFORMER,
  dict(optim=dict(warmup=dict(steps=2))),
)
LEARNS_FROM = {
  'autoencoder': 'maskgit_tokenizer_imagenet256',
  'init_from': 'maskgit_imagenet256',
}


def get_config(variant: str = '') -> dict:
  """Returns the config; 'smoke' is a test of a few seconds."""
  config = dict(
    task='maskgit',
    autoencoder='runs/maskgit/autoencoder',
    init_from='runs/maskgit',
    data=common.folder('images', 256, batch_size=32, workers=4),
    model=dict(type='maskgit'),
    loss=dict(loss_reduction='examples'),
    sampler=dict(guidance=1.0, steps=12),
    optim=dict(
      learning_rate=0.0001,
      schedule='constant',
      warmup=dict(steps=500),
      b2=0.96,
      weight_decay=0.045,
      clip_norm=1.0,
      ema_decay=0.999,
    ),
    train=dict(
      total_steps=20_000,
      eval_every=dict(percent=5),
      save_every=dict(percent=2.5),
    ),
  )
  return common.variant(variant, config, SMOKE)
