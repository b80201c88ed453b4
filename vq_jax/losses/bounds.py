"""Lower bounds on the log-likelihood of latent variable models."""

import math

import jax
import jax.numpy as jnp


def iwae_bound(log_weights: jax.Array) -> jax.Array:
  """Returns the importance-weighted bound log mean_k w_k.

  Burda et al. 2016, equation 8 (https://arxiv.org/abs/1509.00519). Its
  expectation is at most log p(x) and does not decrease with k; for k = 1 it is
  the evidence lower bound.

  Args:
    log_weights: [k, ...], log p(x, z_k) - log q(z_k | x) with z_k ~ q.

  Returns:
    float [...], in nats.

  Example:
    >>> import jax.numpy as jnp
    >>> from vq_jax import losses
    >>> losses.iwae_bound(jnp.array([1.0, 1.0])).tolist()
    1.0
  """
  k = log_weights.shape[0]
  return jax.nn.logsumexp(log_weights, axis=0) - math.log(k)


def bits_per_dim(
  log_p: jax.Array, dims: int, bins: int | None = None
) -> jax.Array:
  """Returns -log2 p(x) / dims.

  Args:
    log_p: log p(x) in nats, or a bound on it.
    dims: number of dimensions of x: pixels times channels.
    bins: number of values of a dimension, if p is a density on [0, 1] and x is
      discrete; log2(bins) is added. See `vq_jax.autoencoders.likelihoods`.

  Returns:
    float [...], in bits.
  """
  bits = -jnp.asarray(log_p) / (dims * math.log(2))
  return bits if bins is None else bits + math.log2(bins)
