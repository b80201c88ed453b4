"""VQ-VAE-2 with three levels on a folder of faces at 1024 x 1024.

Paper: Generating Diverse High-Fidelity Images with VQ-VAE-2,
https://arxiv.org/abs/1906.00446 (FFHQ: tokens of 32 x 32, 64 x 64 and
128 x 128, 304,741 steps of batch 128). It reports no reconstruction error for
this model. Dead codes are revived, which the paper does not do;
`--config.model.quantizer.dead_code_threshold=0` turns it off. Sized for a TPU
v3-32 or 32 GPUs.

    python -m train.main --config configs/vqvae2_faces1024.py \
        --workdir runs/faces --config.data.source=folder:/path/to/faces
"""

from configs import common
from configs import vqvae2_imagenet256

# Three levels need larger images.
SMOKE_DATA = dict(
  data=dict(
    train_preprocess=(dict(type='resize', size=64),),
    eval_preprocess=(dict(type='resize', size=64),),
  )
)

PARAMETERS = 3_418_243


def get_config(variant: str = '') -> dict:
  """Returns the config; 'smoke' is a test of a few seconds."""
  config = common.merge(
    vqvae2_imagenet256.get_config(),
    dict(
      model=dict(strides=(8, 2, 2)),
      train=common.long_training(total_steps=304_741, num_images=4),
      data=common.folder('faces', 1024, batch_size=128, workers=16),
    ),
  )
  return common.variant(
    variant, config, common.merge(vqvae2_imagenet256.SMOKE, SMOKE_DATA)
  )
