"""Metrics of reconstructions, codebooks and generated images.

Images are [B, H, W, C], uint8 or float in [0, 1].
"""

from vq_jax.metrics import classifier
from vq_jax.metrics import codebook
from vq_jax.metrics import frechet
from vq_jax.metrics.classifier import Classifier
from vq_jax.metrics.classifier import class_agreement
from vq_jax.metrics.frechet import frechet_distance
from vq_jax.metrics.image import mse
from vq_jax.metrics.image import psnr
from vq_jax.metrics.image import psnr_from_mse
from vq_jax.metrics.image import ssim

__all__ = [
  'Classifier',
  'class_agreement',
  'classifier',
  'codebook',
  'frechet',
  'frechet_distance',
  'mse',
  'psnr',
  'psnr_from_mse',
  'ssim',
]
