"""k-means clustering, which initialises codebooks by the first batch."""

import jax
import jax.numpy as jnp

from vq_jax.layers import normalization
from vq_jax.quantizers import base
from vq_jax.quantizers import nearest as search
from vq_jax.utils import replicas


def cluster_sums(
  z: jax.Array, indices: jax.Array, codebook_size: int, axis_name: str | None
) -> tuple[jax.Array, jax.Array]:
  """Returns the number and the sum of the vectors of each cluster.

  Args:
    z: float [N, D].
    indices: int32 [N], the cluster of each vector.
    codebook_size: K.
    axis_name: name of the pmap axis, or None.

  Returns:
    counts float32 [K] and sums [K, D], over all replicas.
  """
  sums = jax.ops.segment_sum(z, indices, codebook_size)
  counts = base.code_counts(indices, codebook_size)
  return replicas.psum((counts, sums), axis_name)


def mean_codes(
  sums: jax.Array, counts: jax.Array, codes: jax.Array, spherical: bool
) -> jax.Array:
  """Returns the mean of each cluster, or its code if the cluster is empty.

  Args:
    sums: float32 [K, D].
    counts: float32 [K]. A cluster of count 0 keeps its code.
    codes: float32 [K, D].
    spherical: whether means are normalised to unit length. A mean of zero has
      no direction, and its cluster keeps its code.
  """
  means = sums / jnp.where(counts > 0, counts, 1.0)[:, None]
  valid = (counts > 0)[:, None]
  if spherical:
    means = normalization.l2_normalize(means)
    valid &= jnp.any(means != 0, axis=-1, keepdims=True)
  return jnp.where(valid, means, codes)


def kmeans(
  rng: jax.Array,
  z: jax.Array,
  codebook_size: int,
  iterations: int,
  axis_name: str | None = None,
  *,
  spherical: bool = False,
) -> tuple[jax.Array, jax.Array]:
  """Runs Lloyd's algorithm from randomly chosen vectors.

  A cluster that becomes empty keeps its centroid.

  Args:
    rng: key, the same on every replica.
    z: float32 [N, D].
    codebook_size: K. Vectors are chosen with replacement if all replicas
      together have fewer than K.
    iterations: number of iterations; 0 returns the chosen vectors.
    axis_name: name of the pmap axis, or None.
    spherical: whether centroids are normalised to unit length. The vectors
      must then have unit length.

  Returns:
    centroids float32 [K, D], and float32 [K], the counts of the last assignment
    (ones without iterations).
  """
  total = z.shape[0] * (
    1 if axis_name is None else jax.lax.axis_size(axis_name)
  )
  rows = jax.random.choice(
    rng, total, (codebook_size,), replace=total < codebook_size
  )
  centroids = replicas.take_rows(z, rows, axis_name)

  def lloyd(_, carry):
    centroids, _ = carry
    indices = search.nearest(z, centroids)
    counts, sums = cluster_sums(z, indices, codebook_size, axis_name)
    return mean_codes(sums, counts, centroids, spherical), counts

  start = (centroids, jnp.ones(codebook_size, jnp.float32))
  return jax.lax.fori_loop(0, iterations, lloyd, start)
