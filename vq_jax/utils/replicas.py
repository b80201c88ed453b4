"""Reductions over replicas, for code that runs under `jit` and `pmap`.

Under `jit` over a mesh, arrays are global, `axis_name` is None, and these
functions do nothing. Under `pmap`, each replica has its part of an array, and
`axis_name` must be the name of the axis, or the replicas diverge.
"""

import jax
import jax.numpy as jnp


def psum(x, axis_name: str | None):
  """Sums a tree over the replicas."""
  return x if axis_name is None else jax.lax.psum(x, axis_name)


def pmean(x, axis_name: str | None):
  """Averages a tree over the replicas."""
  return x if axis_name is None else jax.lax.pmean(x, axis_name)


def all_gather(x: jax.Array, axis_name: str | None) -> jax.Array:
  """Concatenates [n, ...] of all replicas to [replicas * n, ...]."""
  if axis_name is None:
    return x
  return jax.lax.all_gather(x, axis_name, tiled=True)


def take_rows(
  x: jax.Array, rows: jax.Array, axis_name: str | None
) -> jax.Array:
  """Takes rows of an array that is split over the replicas.

  Only these rows are communicated.

  Args:
    x: [n, ...], the rows of this replica.
    rows: int32 [m], indices into the rows of all replicas, the same on each.
    axis_name: name of the axis of replicas.

  Returns:
    [m, ...], the same on each replica.
  """
  if axis_name is None:
    return x[rows]
  n = x.shape[0]
  local = rows - jax.lax.axis_index(axis_name) * n
  mine = (local >= 0) & (local < n)
  taken = x[jnp.clip(local, 0, n - 1)]
  mine = mine.reshape((-1,) + (1,) * (x.ndim - 1))
  return jax.lax.psum(jnp.where(mine, taken, 0), axis_name)


def row_keys(rng: jax.Array, n: int, axis_name: str | None) -> jax.Array:
  """Returns a key for each row of this replica, by its global position.

  Args:
    rng: key, the same on every replica.
    n: number of rows of this replica.
    axis_name: name of the axis of replicas.

  Returns:
    Keys [n], the same as those of these rows on a single device.
  """
  positions = jnp.arange(n)
  if axis_name is not None:
    positions += n * jax.lax.axis_index(axis_name)
  return jax.vmap(lambda i: jax.random.fold_in(rng, i))(positions)
