"""Finite scalar quantization on CIFAR-10: 8 x 8 x 8 levels, no codebook.

Paper: Finite Scalar Quantization, https://arxiv.org/abs/2309.15505, which
reports nothing for CIFAR-10.

    python -m train.main --config configs/fsq_cifar10.py \
        --workdir runs/fsq_cifar10

Everything but the quantizer is that of `vqvae_cifar10.py`, so that quantizers
can be compared. TFDS downloads CIFAR-10 on first use. Training takes about an
hour on two CPU cores and minutes on a GPU.
"""

from configs import common
from configs import vqvae_cifar10

PARAMETERS = 584_582


def get_config(variant: str = '') -> dict:
  """Returns the config; 'smoke' is a test of a few seconds."""
  config = common.merge(
    vqvae_cifar10.get_config(),
    dict(model=dict(quantizer=dict(type='fsq', levels=(8, 8, 8)))),
  )
  return common.variant(variant, config, vqvae_cifar10.SMOKE)
