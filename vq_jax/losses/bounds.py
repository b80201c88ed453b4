"""Bounds on log p(x) of a latent variable model."""

import math

import jax
import jax.numpy as jnp


def iwae_bound(log_weights: jax.Array) -> jax.Array:
  """Returns log mean_k w_k (Burda et al. 2016, eq. 8).

  In expectation it is at most log p(x), never falls with k, and is the evidence
  lower bound for k = 1.

  Args:
    log_weights: [k, ...], log p(x, z_k) / q(z_k | x) with z_k ~ q.

  Returns:
    float [...], in nats.
  """
  k = log_weights.shape[0]
  return jax.nn.logsumexp(log_weights, axis=0) - math.log(k)


def bits_per_dim(
  log_p: jax.Array, dims: int, bins: int | None = None
) -> jax.Array:
  """Returns -log2 p(x) per number in x.

  Args:
    log_p: log p(x) in nats, or a bound on it.
    dims: how many numbers x has: pixels times channels.
    bins: how many values a number has, if p is a density over their range; see
      `vq_jax.autoencoders.likelihoods`.
  """
  bits = -jnp.asarray(log_p) / (dims * math.log(2))
  return bits if bins is None else bits + math.log2(bins)
