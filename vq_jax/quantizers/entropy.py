"""The entropy loss E[H(p)] - H(E[p]) of a distribution p over the codes.

The first term makes each vector certain of its code, the second makes the batch
use all codes. The means are over the vectors of the batch (MaskGIT,
https://arxiv.org/abs/2202.04200; MAGVIT-v2, https://arxiv.org/abs/2310.05737,
3.1).
"""

import math

import jax
import jax.numpy as jnp

from vq_jax.quantizers import nearest as search
from vq_jax.utils import replicas


def entropies(
  logits: jax.Array, axis_name: str | None = None
) -> tuple[jax.Array, jax.Array]:
  """Returns E[H(p)] and H(E[p]) of p = softmax(logits), in nats.

  Args:
    logits: float32 [..., K].
    axis_name: name of the pmap axis, or None. The second term is over all
      replicas; the first is this replica's, and is averaged with the loss.

  Returns:
    float32 [], float32 []; zeros for an empty batch.
  """
  log_p = jax.nn.log_softmax(logits.reshape(-1, logits.shape[-1]))
  p = jnp.exp(log_p)
  rows = max(p.shape[0], 1)
  sample = -jnp.sum(p * log_p) / rows
  return sample, _entropy(replicas.pmean(p.sum(axis=0) / rows, axis_name))


def codebook_entropy_loss(
  z: jax.Array,
  codebook: jax.Array,
  temperature: float,
  axis_name: str | None = None,
) -> jax.Array:
  """Returns the entropy loss of p = softmax(-|z - e|^2 / temperature).

  Args:
    z: float32 [..., D].
    codebook: float32 [K, D].
    temperature: the lower, the more p is concentrated on the nearest code.
    axis_name: see `entropies`.
  """
  distances = search.squared_distances(z, codebook)
  sample, batch = entropies(-distances / temperature, axis_name)
  return sample - batch


def bit_entropies(
  logits: jax.Array, group_bits: int, axis_name: str | None = None
) -> tuple[jax.Array, jax.Array]:
  """Returns E[H(p)] and H(E[p]) of a distribution p of independent bits.

  The first term is the sum of the bits' entropies. The second is exact if all
  bits form one group. Otherwise it is the sum of the entropies of groups of
  nearly equal size, as in https://arxiv.org/abs/2310.05737, 3.1. That ignores
  the dependence between groups and is an upper bound.

  Args:
    logits: float32 [..., D], the logit of each bit being 1.
    group_bits: the largest number of bits in a group. A vector needs
      2^group_bits elements of memory.
    axis_name: see `entropies`.

  Returns:
    float32 [], float32 [], in nats; zeros for an empty batch.
  """
  bits = logits.shape[-1]
  logits = logits.reshape(-1, bits)
  rows = max(logits.shape[0], 1)
  both = jnp.stack(  # log probabilities of 0 and of 1: [N, D, 2]
    [jax.nn.log_sigmoid(-logits), jax.nn.log_sigmoid(logits)], axis=-1
  )
  sample = -jnp.sum(jnp.exp(both) * both) / rows
  batch = jnp.zeros((), jnp.float32)
  groups = math.ceil(bits / group_bits)
  for i in range(groups):
    part = both[:, i * bits // groups : (i + 1) * bits // groups]
    joint = part[:, 0]
    for j in range(1, part.shape[1]):
      joint = joint[:, :, None] + part[:, j, None, :]
      joint = joint.reshape(joint.shape[0], 2 ** (j + 1))
    p = jnp.exp(joint).sum(axis=0) / rows
    batch += _entropy(replicas.pmean(p, axis_name))
  return sample, batch


def _entropy(p: jax.Array) -> jax.Array:
  # The floor keeps the gradient finite where a probability is 0.
  return -jnp.sum(p * jnp.log(jnp.maximum(p, jnp.finfo(p.dtype).tiny)))
