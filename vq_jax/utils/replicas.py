"""Sums over replicas that are the identity where there is only one.

Under `jit` over a mesh an array is global and `axis_name` is None. Under
`pmap` each replica holds its share and the axis must be named, else the
replicas drift apart.
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
  """Takes rows of an array whose rows are spread over the replicas.

  Only the rows asked for travel.

  Args:
    x: [n, ...], this replica's rows.
    rows: int32 [m], indices into the rows of all replicas, the same on each.
    axis_name: the replicas' axis.

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
  """Returns a key for each of this replica's n rows, by its global place.

  Args:
    rng: key, the same on every replica.
    n: rows of this replica.
    axis_name: the replicas' axis.

  Returns:
    keys [n]: those one device would give to the same rows.
  """
  places = jnp.arange(n)
  if axis_name is not None:
    places += n * jax.lax.axis_index(axis_name)
  return jax.vmap(lambda place: jax.random.fold_in(rng, place))(places)
