"""The transformer of VQGAN on ImageNet, 16,384 codes: 1.4 B parameters.

Paper: Taming Transformers for High-Resolution Image Synthesis,
https://arxiv.org/abs/2012.09841, tables 4 and 8. It reports FID 15.78 and an
inception score of 74.3 with top-k 973 and top-p 0.88, and FID 5.20 and 280.3
with top-k 600 and classifier rejection at an acceptance rate of 0.05
(`vqjax generate RUN --acceptance-rate 0.05`). The learning rate is 4.5e-6 times
the batch size, as in its code. Sized for a TPU v3-32 or 32 GPUs.

    vqjax convert taming-vqgan last.ckpt --yaml model.yaml --out runs/vqgan
    python -m train.main \
        --config configs/vqgan_transformer_f16_16384_imagenet256.py \
        --workdir runs/vqgan_transformer
"""

from configs import common
from configs import vqgan_transformer_f16_1024_imagenet256

PARAMETERS = 1_412_178_432
LEARNS_FROM = {'autoencoder': 'vqgan_f16_16384_imagenet256'}


def get_config(variant: str = '') -> dict:
  """Returns the config; 'smoke' is a test of a few seconds."""
  config = common.merge(
    vqgan_transformer_f16_1024_imagenet256.get_config(),
    dict(
      model=dict(
        transformer=dict(layers=48, mlp_width=6144, remat=True, width=1536)
      ),
      autoencoder='runs/vqgan',
      sampler=dict(top_k=973, top_p=0.88),
    ),
  )
  return common.variant(
    variant, config, vqgan_transformer_f16_1024_imagenet256.SMOKE
  )
