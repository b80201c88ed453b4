"""Functions of vectors that are applied to a block of vectors at a time.

A function that compares N vectors with K codes has intermediate results of
N * K numbers. Applied to blocks of the vectors, it has only those of a block.
"""

import math
from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp

from vq_jax.utils import replicas

Rows = TypeVar('Rows')
Sums = TypeVar('Sums')

# Numbers of an intermediate result on each device. With at most so many, all
# vectors are one block; a block of a larger problem is not larger either.
_ELEMENTS = 2**22
# But a block has at least so many vectors: the whole codebook is read, and its
# whole gradient written, once for each block.
_LEAST_ROWS = 64
# What the number of parts of a batch is expected to divide if no mesh is known.
_PARTS = 32


def split_leading(x: jax.Array, leading: int) -> jax.Array:
  """Reshapes an array so that blocks of its second axis stay on a device.

  A mesh that splits the first axis of x splits the first axis of the result.

  Args:
    x: [B, ..., *rest].
    leading: the number of axes before `rest`.

  Returns:
    [A, N / A, *rest], where N is the product of the leading axes.
  """
  mesh = jax.sharding.get_abstract_mesh()
  parts = _PARTS
  if not mesh.empty:
    parts = math.prod(mesh.shape[name] for name in mesh.auto_axes)
  shape = x.shape[:leading] or (1,)
  first = math.gcd(shape[0], parts)
  return x.reshape(first, math.prod(shape) // first, *x.shape[leading:])


def map_rows(
  function: Callable[..., tuple[Rows, Sums]], columns: int, *arrays: jax.Array
) -> tuple[Rows, Sums]:
  """Returns `function(*arrays)`, computed by blocks if it needs much memory.

  The derivative computes each block again instead of keeping its intermediate
  results.

  Args:
    function: maps arrays [..., D] and [...] to a tree of arrays with the same
      leading axes, and a tree of sums over all of them.
    columns: the numbers of an intermediate result for each vector.
    *arrays: a float array [..., D], which is followed by arrays whose shape
      begins with the same leading axes.
  """
  shape = arrays[0].shape[:-1]
  rows = max(_ELEMENTS // columns, _LEAST_ROWS) * replicas.batch_parts()
  if math.prod(shape) <= rows:
    return function(*arrays)
  split = [split_leading(x, len(shape)) for x in arrays]
  parts, total = split[0].shape[:2]
  blocks = math.ceil(total / max(rows // parts, 1))
  size = math.ceil(total / blocks)  # as equal as possible
  blocks, rest = divmod(total, size)
  function = jax.checkpoint(function, prevent_cse=False)

  def step(sums, block):
    found, more = function(*block)
    return jax.tree.map(jnp.add, sums, more), found

  def cut(x):
    x = x[:, : blocks * size]
    return jnp.moveaxis(x.reshape(parts, blocks, size, *x.shape[2:]), 1, 0)

  def join(x):
    x = jnp.moveaxis(x, 0, 1)
    return x.reshape(parts, blocks * size, *x.shape[3:])

  xs = [cut(x) for x in split]
  _, sums = jax.eval_shape(function, *[x[0] for x in xs])
  sums, found = jax.lax.scan(step, jax.tree.map(jnp.zeros_like, sums), xs)
  found = jax.tree.map(join, found)
  if rest:
    sums, last = step(sums, [x[:, blocks * size :] for x in split])
    found = jax.tree.map(
      lambda a, b: jnp.concatenate([a, b], axis=1), found, last
    )
  found = jax.tree.map(lambda x: x.reshape(*shape, *x.shape[2:]), found)
  return found, sums
