"""Fine-tunes the decoder of a VQGAN on a folder of images.

The encoder and the codebook stay frozen, so priors of their tokens still fit,
while the decoder becomes sharper or learns another style. The model must be
that of the run it starts from, here a VQGAN with 16,384 codes, trained or
converted. Sized for one GPU; there are no published figures for it.

    python -m train.main --config configs/finetune_decoder.py \
        --workdir runs/decoder --config.init_from=runs/vqgan \
        --config.data.source=folder:/path/to/images

The last 5 % of the images, after shuffling by name, are held out. The
perceptual loss needs `python -m vq_jax.features lpips_vgg16`.
"""

from configs import common
from configs import vqgan_f16_1024_imagenet256
from configs import vqgan_f16_16384_imagenet256

PARAMETERS = 76_073_859
LEARNS_FROM = {'init_from': 'vqgan_f16_16384_imagenet256'}


def get_config(variant: str = '') -> dict:
  """Returns the config; 'smoke' is a test of a few seconds."""
  config = common.merge(
    vqgan_f16_16384_imagenet256.get_config(),
    dict(
      init_from='runs/vqgan',
      data=common.folder('images', 256, batch_size=16, workers=4),
      adversary=dict(
        start=dict(steps=2000), discriminator_start=dict(steps=1000)
      ),
      optim=dict(learning_rate=0.0001, only=('decoder',)),
      train=dict(total_steps=20_000),
    ),
  )
  return common.variant(variant, config, vqgan_f16_1024_imagenet256.SMOKE)
