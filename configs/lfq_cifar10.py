"""Lookup-free quantization on CIFAR-10: nine signs, which are 512 codes.

Paper: Language Model Beats Diffusion (MAGVIT-v2),
https://arxiv.org/abs/2310.05737, which reports nothing for CIFAR-10.

    python -m train.main --config configs/lfq_cifar10.py \
        --workdir runs/lfq_cifar10

Everything but the quantizer is that of `vqvae_cifar10.py`, so that quantizers
can be compared. TFDS downloads CIFAR-10 on first use. Training takes about an
hour on two CPU cores and minutes on a GPU.
"""

from configs import common
from configs import vqvae_cifar10

PARAMETERS = 592_268


def get_config(variant: str = '') -> dict:
  """Returns the config; 'smoke' is a test of a few seconds."""
  config = common.merge(
    vqvae_cifar10.get_config(),
    dict(model=dict(quantizer=dict(type='lfq', bits=9))),
  )
  return common.variant(variant, config, vqvae_cifar10.SMOKE)
