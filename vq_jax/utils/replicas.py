"""Reductions over replicas, for code that runs under `jit` and `pmap`.

Under `jit` over a mesh, arrays are global, `axis_name` is None, and these
functions do nothing. Under `pmap`, each replica has its part of an array, and
`axis_name` must be the name of the axis, or the replicas diverge.
"""

import math

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

# How a batch is split over a mesh.
BATCH_SPEC = PartitionSpec(('data', 'fsdp'))


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


def split_batch(x: jax.Array) -> jax.Array:
  """Keeps activations split by examples over the axes of a mesh.

  Where parameters are split over the axis `fsdp`, as batches are, XLA may split
  activations as their parameters are, and then exchange activations, which are
  larger, instead of parameters. Without such a mesh, nothing happens.

  Args:
    x: [B, ...].
  """
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty or mesh.shape.get('fsdp', 1) == 1:
    return x
  if x.shape[0] % (mesh.shape['data'] * mesh.shape['fsdp']):
    return x
  return jax.lax.with_sharding_constraint(x, BATCH_SPEC)


def batch_parts() -> int:
  """Returns into how many parts the mesh in use splits a batch.

  The result is 1 where arrays hold the examples of one device: without a mesh,
  under `pmap` and inside `shard_map`.
  """
  mesh = jax.sharding.get_abstract_mesh()
  names = [name for name in BATCH_SPEC[0] if name in mesh.auto_axes]
  return math.prod(mesh.shape[name] for name in names)


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
