"""Metrics of reconstructions, codebooks and generated images.

Images are [B, H, W, C], uint8 or float in [0, 1]. Metrics of sets of images
take features [n, D], which `vq_jax.features.load_extractor` computes, in memory
or in files; `vq_jax.evaluation` does both for runs and folders.
"""

from vq_jax.metrics import classifier
from vq_jax.metrics import codebook
from vq_jax.metrics import frechet
from vq_jax.metrics import neighbours
from vq_jax.metrics.classifier import Classifier
from vq_jax.metrics.classifier import class_agreement
from vq_jax.metrics.estimates import Estimate
from vq_jax.metrics.frechet import frechet_distance
from vq_jax.metrics.image import compare_images
from vq_jax.metrics.image import mse
from vq_jax.metrics.image import psnr
from vq_jax.metrics.image import psnr_from_mse
from vq_jax.metrics.image import ssim
from vq_jax.metrics.inception_score import inception_score
from vq_jax.metrics.kernel_distances import cmmd
from vq_jax.metrics.kernel_distances import kid
from vq_jax.metrics.neighbours import density_coverage
from vq_jax.metrics.neighbours import precision_recall

__all__ = [
  'Classifier',
  'Estimate',
  'class_agreement',
  'classifier',
  'cmmd',
  'codebook',
  'compare_images',
  'density_coverage',
  'frechet',
  'frechet_distance',
  'inception_score',
  'kid',
  'mse',
  'neighbours',
  'precision_recall',
  'psnr',
  'psnr_from_mse',
  'ssim',
]
