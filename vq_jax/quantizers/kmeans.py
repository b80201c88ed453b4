"""k-means: a codebook that starts on the data instead of at random."""

import jax
import jax.numpy as jnp

from vq_jax.quantizers import base
from vq_jax.quantizers import nearest as search
from vq_jax.utils import replicas


def cluster_sums(
  z: jax.Array, indices: jax.Array, codebook_size: int, axis_name: str | None
) -> tuple[jax.Array, jax.Array]:
  """Returns counts [K] and sums [K, D] of the vectors at each code.

  Args:
    z: float [N, D].
    indices: int32 [N], the code of each vector.
    codebook_size: K.
    axis_name: the replicas' axis.
  """
  sums = jax.ops.segment_sum(z, indices, codebook_size)
  counts = base.code_counts(indices, codebook_size)
  return replicas.psum((counts, sums), axis_name)


def mean_codes(
  sums: jax.Array, sizes: jax.Array, codes: jax.Array, spherical: bool
) -> jax.Array:
  """Returns each cluster's mean, or its code where there is none.

  Args:
    sums: float32 [K, D].
    sizes: float32 [K]; a cluster of size 0 keeps its code.
    codes: float32 [K, D].
    spherical: whether the means are put back onto the unit sphere; one whose
      vectors cancel has no direction, and keeps its code.
  """
  means = sums / jnp.where(sizes > 0, sizes, 1.0)[:, None]
  some = (sizes > 0)[:, None]
  if spherical:
    means = search.l2_normalize(means)
    some &= jnp.any(means != 0, axis=-1, keepdims=True)
  return jnp.where(some, means, codes)


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

  A cluster that loses all its vectors stays where it is.

  Args:
    rng: key, the same on every replica.
    z: float32 [N, D].
    codebook_size: K. Vectors are drawn with replacement if all replicas
      together hold fewer than K.
    iterations: 0 leaves the chosen vectors.
    axis_name: the replicas' axis.
    spherical: whether centroids are kept on the unit sphere, where `z` lies.

  Returns:
    centroids float32 [K, D], and counts float32 [K] of the last assignment
    (ones if there was none).
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
    means = mean_codes(sums, counts, centroids, spherical)
    return means, counts

  start = (centroids, jnp.ones(codebook_size, jnp.float32))
  return jax.lax.fori_loop(0, iterations, lloyd, start)
