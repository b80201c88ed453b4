"""What is minimised, elementwise where it can be."""

from vq_jax.losses.tokens import cross_entropy
from vq_jax.losses.tokens import weighted_mean

__all__ = ['cross_entropy', 'weighted_mean']
