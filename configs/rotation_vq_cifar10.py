"""VQ-VAE with the rotation trick on CIFAR-10.

Paper: Restructuring Vector Quantization with the Rotation Trick,
https://arxiv.org/abs/2410.06424, which reports nothing for CIFAR-10. In our
measurements it is no better than the straight-through estimator, and without
k-means initialisation and dead-code revival most codes stay unused, also with
the paper's commitment weight 1 and decay 0.8.

    python -m train.main --config configs/rotation_vq_cifar10.py \
        --workdir runs/rotation_vq_cifar10

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
    dict(model=dict(quantizer=dict(gradient_estimator='rotation'))),
  )
  return common.variant(variant, config, vqvae_cifar10.SMOKE)
