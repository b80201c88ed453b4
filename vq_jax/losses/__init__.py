"""Losses, per element or per example; the caller averages them."""

from vq_jax.losses.adversarial import AdversarialLoss
from vq_jax.losses.adversarial import Hinge
from vq_jax.losses.adversarial import LogitMeans
from vq_jax.losses.adversarial import NonSaturating
from vq_jax.losses.adversarial import Vanilla
from vq_jax.losses.adversarial import adaptive_weight
from vq_jax.losses.adversarial import lecam
from vq_jax.losses.adversarial import r1_penalty
from vq_jax.losses.bounds import bits_per_dim
from vq_jax.losses.bounds import iwae_bound
from vq_jax.losses.perceptual import LPIPS
from vq_jax.losses.perceptual import ClassifierDistance
from vq_jax.losses.perceptual import load_classifier_distance
from vq_jax.losses.perceptual import load_lpips
from vq_jax.losses.reconstruction import l1
from vq_jax.losses.reconstruction import l2
from vq_jax.losses.tokens import cross_entropy
from vq_jax.losses.tokens import mean_of_examples
from vq_jax.losses.tokens import weighted_mean

__all__ = [
  'AdversarialLoss',
  'ClassifierDistance',
  'Hinge',
  'LPIPS',
  'LogitMeans',
  'NonSaturating',
  'Vanilla',
  'adaptive_weight',
  'bits_per_dim',
  'cross_entropy',
  'iwae_bound',
  'l1',
  'l2',
  'lecam',
  'load_classifier_distance',
  'load_lpips',
  'mean_of_examples',
  'r1_penalty',
  'weighted_mean',
]
