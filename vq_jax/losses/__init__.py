"""What is minimised, elementwise or per example: the caller averages."""

from vq_jax.losses.reconstruction import l1
from vq_jax.losses.reconstruction import l2
from vq_jax.losses.tokens import cross_entropy
from vq_jax.losses.tokens import weighted_mean

__all__ = ['cross_entropy', 'l1', 'l2', 'weighted_mean']
