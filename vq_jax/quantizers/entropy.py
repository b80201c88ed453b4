"""The entropy loss E[H(p)] - H(E[p]) of a distribution p over the codes.

The first term makes each vector certain of its code, the second makes the batch
use all codes. The means are over the vectors of the batch (MaskGIT,
https://arxiv.org/abs/2202.04200; MAGVIT-v2, https://arxiv.org/abs/2310.05737,
3.1).
"""

import itertools
import math

import jax
import jax.numpy as jnp

from vq_jax.quantizers import blocks
from vq_jax.quantizers import nearest as search
from vq_jax.utils import replicas


@jax.custom_vjp
def entropy_sums(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns the sums of H(p) and of p over all vectors, p = softmax(logits).

  Args:
    logits: float32 [..., K].

  Returns:
    float32 [] in nats, and float32 [K]. `mean_entropies` takes them.
  """
  p, shifted, normalizer = _softmax(logits)
  # -log p = log(normalizer) - shifted.
  entropy = jnp.sum(jnp.log(normalizer)) - jnp.sum(p * shifted)
  return entropy, p.sum(axis=range(p.ndim - 1))


def _softmax(logits: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Returns p = exp(shifted) / normalizer, `shifted`, and `normalizer`."""
  shifted = logits - jnp.max(logits, axis=-1, keepdims=True)
  exp = jnp.exp(shifted)
  normalizer = jnp.sum(exp, axis=-1, keepdims=True)
  return exp / normalizer, shifted, normalizer


def _entropy_sums_backward(
  logits: jax.Array, cotangents: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array]:
  # d H / d logits = -p (log p + H), and the derivative of p is that of softmax.
  # Both are p (u - sum_k p_k u_k), with u = -shifted and u = 1 for one code.
  p, shifted, _ = _softmax(logits)
  of_entropy, of_p = cotangents
  u = jnp.expand_dims(of_p, range(p.ndim - 1)) - of_entropy * shifted
  return (p * (u - jnp.sum(p * u, axis=-1, keepdims=True)),)


# Only the logits are kept for the derivative, and not p and its logarithm.
entropy_sums.defvjp(
  lambda logits: (entropy_sums(logits), logits), _entropy_sums_backward
)


def mean_entropies(
  sums: tuple[jax.Array, jax.Array], rows: int, axis_name: str | None = None
) -> tuple[jax.Array, jax.Array]:
  """Returns E[H(p)] and H(E[p]) in nats.

  Args:
    sums: the sums of H(p) and of p over the vectors of this replica.
    rows: the number of vectors.
    axis_name: name of the pmap axis, or None. The second term is over all
      replicas; the first is this replica's, and is averaged with the loss.

  Returns:
    float32 [], float32 []; zeros for an empty batch.
  """
  rows = max(rows, 1)
  return sums[0] / rows, _entropy(replicas.pmean(sums[1] / rows, axis_name))


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
    axis_name: see `mean_entropies`.
  """

  def sum_block(z):
    distances = search.squared_distances(z, codebook)
    return (), entropy_sums(-distances / temperature)

  _, sums = blocks.map_rows(sum_block, codebook.shape[0], z)
  rows = math.prod(z.shape[:-1])
  sample, batch = mean_entropies(sums, rows, axis_name)
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
    group_bits: the largest number of bits in a group, whose joint distribution
      has 2^group_bits probabilities.
    axis_name: see `mean_entropies`.

  Returns:
    float32 [], float32 [], in nats; zeros for an empty batch.
  """
  bits = logits.shape[-1]
  groups = math.ceil(bits / group_bits)
  ends = [i * bits // groups for i in range(groups + 1)]
  largest = max(end - start for start, end in itertools.pairwise(ends))

  def sum_block(logits):
    logits = logits.reshape(-1, bits)
    both = jnp.stack(  # log probabilities of 0 and of 1: [N, D, 2]
      [jax.nn.log_sigmoid(-logits), jax.nn.log_sigmoid(logits)], axis=-1
    )
    joint = [
      jnp.exp(_joint_logarithms(both[:, start:end])).sum(axis=0)
      for start, end in itertools.pairwise(ends)
    ]
    return (), (-jnp.sum(jnp.exp(both) * both), joint)

  _, (sample, joint) = blocks.map_rows(sum_block, 2**largest, logits)
  rows = max(math.prod(logits.shape[:-1]), 1)
  batch = jnp.zeros((), jnp.float32)
  for p in joint:
    batch += _entropy(replicas.pmean(p / rows, axis_name))
  return sample / rows, batch


def _joint_logarithms(both: jax.Array) -> jax.Array:
  """Returns the log probabilities of all values of some bits.

  Args:
    both: float32 [N, D, 2], the log probabilities of 0 and of 1.

  Returns:
    float32 [N, 2^D].
  """
  joint = both[:, 0]
  for j in range(1, both.shape[1]):
    joint = joint[:, :, None] + both[:, j, None, :]
    joint = joint.reshape(joint.shape[0], 2 ** (j + 1))
  return joint


def _entropy(p: jax.Array) -> jax.Array:
  # The floor keeps the gradient finite where a probability is 0.
  return -jnp.sum(p * jnp.log(jnp.maximum(p, jnp.finfo(p.dtype).tiny)))
