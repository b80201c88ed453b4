"""Residual quantization on CIFAR-10: four codes of 512 per latent.

Paper: Autoregressive Image Generation using Residual Quantization,
https://arxiv.org/abs/2203.01941, which reports nothing for CIFAR-10.

    python -m train.main --config configs/residual_vq_cifar10.py \
        --workdir runs/residual_vq_cifar10

Everything but the quantizer is that of `vqvae_cifar10.py`, so that quantizers
can be compared. TFDS downloads CIFAR-10 on first use. Training takes about an
hour on two CPU cores and minutes on a GPU.
"""

from configs import common
from configs import vqvae_cifar10

PARAMETERS = 662_723


def get_config(variant: str = '') -> dict:
  """Returns the config; 'smoke' is a test of a few seconds."""
  config = common.merge(
    vqvae_cifar10.get_config(),
    dict(
      model=dict(
        quantizer=dict(
          type='residual',
          levels=4,
          quantizer=dict(
            type='ema_vq',
            code_dim=64,
            codebook_size=512,
            dead_code_threshold=0.1,
          ),
        )
      )
    ),
  )
  return common.variant(variant, config, vqvae_cifar10.SMOKE)
