"""What is minimised, elementwise or per example: the caller averages."""

from vq_jax.losses.bounds import bits_per_dim
from vq_jax.losses.bounds import iwae_bound
from vq_jax.losses.reconstruction import l1
from vq_jax.losses.reconstruction import l2
from vq_jax.losses.tokens import cross_entropy
from vq_jax.losses.tokens import weighted_mean

__all__ = [
  'bits_per_dim',
  'cross_entropy',
  'iwae_bound',
  'l1',
  'l2',
  'weighted_mean',
]
