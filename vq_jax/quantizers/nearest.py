"""Search for the nearest code.

The distances of N vectors to K codes are N * K numbers. No device holds them
all at once: XLA's compiler for TPUs merges the product, the distances and the
choice of the smallest into one kernel, and elsewhere the distances are computed
by blocks of vectors and codes. A problem of one block is computed at once.
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from vq_jax.quantizers import blocks
from vq_jax.utils import replicas

# The sizes of a block on each device. On a CPU 4 MiB, which its caches hold. On
# a GPU 32 MiB, so that starting kernels takes little of the time.
_CPU_ELEMENTS = 2**20
_GPU_ELEMENTS = 2**23
# The number of vectors of a block, unless the codebook is small.
_ROWS = 1024

Score = Callable[[jax.Array, jax.Array], jax.Array]


def inner_products(z: jax.Array, codebook: jax.Array) -> jax.Array:
  """Returns z . e in float32.

  The product has the highest precision, because the default on a TPU rounds
  its factors to bfloat16, which changes the choice between near neighbours.

  Args:
    z: float [..., D].
    codebook: float [K, D].

  Returns:
    float32 [..., K].
  """
  return jnp.einsum(
    '...d,kd->...k',
    z.astype(jnp.float32),
    codebook.astype(jnp.float32),
    precision=jax.lax.Precision.HIGHEST,
  )


def squared_distances(z: jax.Array, codebook: jax.Array) -> jax.Array:
  """Returns |z - e|^2 = |z|^2 - 2 z . e + |e|^2 in float32.

  Args:
    z: float [..., D].
    codebook: float [K, D].

  Returns:
    float32 [..., K]. Rounding may make a distance of 0 slightly negative.
  """
  z = z.astype(jnp.float32)
  codebook = codebook.astype(jnp.float32)
  z_sq = jnp.sum(jnp.square(z), axis=-1, keepdims=True)
  e_sq = jnp.sum(jnp.square(codebook), axis=-1)
  dot = inner_products(z, codebook)
  return z_sq - 2 * dot + jnp.expand_dims(e_sq, range(z.ndim - 1))


def nearest(z: jax.Array, codebook: jax.Array) -> jax.Array:
  """Returns the index of the nearest code, the lowest one of several.

  As in `jnp.argmin`, a distance that is NaN counts as the smallest: the first
  code with a NaN is chosen, and code 0 for a vector with a NaN.

  Args:
    z: float [..., D].
    codebook: float [K, D].

  Returns:
    int32 [...].
  """
  return _find_smallest(squared_distances, z, codebook)


def most_similar(z: jax.Array, codebook: jax.Array) -> jax.Array:
  """Returns the index of the code with the largest product z . e.

  Of several the lowest is returned. A product that is NaN counts as the
  largest; see `nearest`.

  Args:
    z: float [..., D].
    codebook: float [K, D].

  Returns:
    int32 [...].
  """
  return _find_smallest(_negative_products, z, codebook)


def _negative_products(z: jax.Array, codebook: jax.Array) -> jax.Array:
  return -inner_products(z, codebook)


@functools.partial(jax.jit, static_argnums=0)
def _find_smallest(
  score: Score, z: jax.Array, codebook: jax.Array
) -> jax.Array:
  """Returns the index of the code with the smallest score, int32 [...].

  Args:
    score: maps z [..., D] and codes [k, D] to float32 [..., k].
    z: float [..., D].
    codebook: float [K, D].
  """
  return jax.lax.platform_dependent(
    jax.lax.stop_gradient(z),
    jax.lax.stop_gradient(codebook),
    tpu=functools.partial(_at_once, score),
    cpu=functools.partial(_by_blocks, score, _CPU_ELEMENTS),
    default=functools.partial(_by_blocks, score, _GPU_ELEMENTS),
  )


def _at_once(score: Score, z: jax.Array, codebook: jax.Array) -> jax.Array:
  return jnp.argmin(score(z, codebook), axis=-1).astype(jnp.int32)


def _by_blocks(
  score: Score, elements: int, z: jax.Array, codebook: jax.Array
) -> jax.Array:
  """Returns the same by blocks of at most this many scores on each device."""
  *leading, _ = z.shape
  vectors, codes = math.prod(leading), codebook.shape[0]
  parts = replicas.batch_parts()
  if vectors * codes <= elements * parts:
    return _smallest(score(z, codebook))[1]
  rows = max(_ROWS, elements // codes)
  rows = min(rows * parts, vectors)
  columns = min(max(elements * parts // rows, 1), codes)
  split = blocks.split_leading(z, len(leading))
  total = split.shape[1]
  size = min(max(rows // split.shape[0], 1), total)
  steps = math.ceil(total / size)

  def find(start):
    # The last block begins early enough to be as large as the others.
    start = jnp.minimum(start, total - size)
    block = jax.lax.dynamic_slice_in_dim(split, start, size, axis=1)
    return _over_codes(score, columns, block, codebook)

  found = jax.lax.map(find, size * jnp.arange(steps))  # [steps, A, size]
  rest = total - size * (steps - 1)
  last = found[-1, :, size - rest :]
  before = jnp.moveaxis(found[:-1], 0, 1).reshape(split.shape[0], -1)
  return jnp.concatenate([before, last], axis=1).reshape(leading)


def _over_codes(
  score: Score, columns: int, z: jax.Array, codebook: jax.Array
) -> jax.Array:
  """Returns the indices of the smallest scores, by blocks of the codes."""
  codes = codebook.shape[0]

  def step(i, best):
    start = jnp.minimum(i * columns, codes - columns)
    block = jax.lax.dynamic_slice_in_dim(codebook, start, columns)
    value, index = _smallest(score(z, block))
    least, chosen = best
    is_less = value < least  # of equal scores the first is kept
    return (
      jnp.where(is_less, value, least),
      jnp.where(is_less, start + index, chosen),
    )

  least = jnp.full_like(z[..., 0], jnp.inf, jnp.float32)
  best = least, jnp.zeros_like(least, jnp.int32)
  return jax.lax.fori_loop(0, math.ceil(codes / columns), step, best)[1]


def _smallest(scores: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns the smallest of scores [..., k], and its index, int32 [...].

  This is several times faster than `jnp.argmin` on a CPU, because XLA does not
  vectorise a reduction of pairs.
  """
  # `jnp.min` ignores NaN on a CPU.
  scores = jnp.where(jnp.isnan(scores), -jnp.inf, scores)
  least = jnp.min(scores, axis=-1, keepdims=True)
  position = jax.lax.broadcasted_iota(jnp.int32, scores.shape, scores.ndim - 1)
  position = jnp.where(scores == least, position, scores.shape[-1])
  return least[..., 0], jnp.min(position, axis=-1)
