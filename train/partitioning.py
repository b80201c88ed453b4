"""How the arrays of a training are split over the axes of a mesh.

The name and the shape of an array decide, so that parameters, the optimizer's
moments, moving averages, discriminators and frozen networks are all split by
one table: the last part of the name gives each dimension a logical axis
(`LOGICAL_AXES`), and each logical axis belongs to at most one axis of the mesh
(`MESH_AXES`).

The axis `tensor` splits the heads and the hidden layers of transformers
(Megatron-LM, https://arxiv.org/abs/1909.08053). The axis `fsdp` splits all
arrays that are not small (ZeRO stage 3, https://arxiv.org/abs/1910.02054): if
the dimension of the table does not divide, the largest one that does.
"""

import math
import re
import types
from collections.abc import Mapping

import jax
from jax.sharding import Mesh
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec

from vq_jax.config import schema
from vq_jax.utils.trees import Tree

# Logical axis -> axis of the mesh. An axis that is missing is not split.
MESH_AXES = types.MappingProxyType(
  {
    'embed': 'fsdp',
    'heads': 'tensor',
    'mlp': 'tensor',
    'codes': 'fsdp',
    'in': 'fsdp',
  }
)

# Pattern of the end of a name -> logical axes of the last dimensions. The first
# one that fits counts.
LOGICAL_AXES = (
  (r'attention/(query|key|value)/kernel', ('embed', 'heads', 'head_dim')),
  (r'attention/(query|key|value)/bias', ('heads', 'head_dim')),
  (r'attention/out/kernel', ('heads', 'head_dim', 'embed')),
  (r'mlp_(in|gate)/kernel', ('embed', 'mlp')),
  (r'mlp_(in|gate)/bias', ('mlp',)),
  (r'mlp_out/kernel', ('mlp', 'embed')),
  (r'(codebook|embedding)', ('codes', 'code_dim')),
  (r'kernel', ('in', 'out')),
)

# Arrays with fewer elements are not split over `fsdp`: their exchange would
# take longer than the memory is worth.
MIN_SIZE = 2**13


def make_shardings(tree: Tree, mesh: Mesh) -> Tree:
  """Returns a sharding for each array of a tree.

  Args:
    tree: arrays or their shapes.
    mesh: has the axes `data`, `fsdp` and `tensor`; an axis may have size 1.

  Returns:
    a tree of the same structure.

  Raises:
    ConfigError: if heads or hidden layers do not divide over `tensor`.
  """
  return jax.tree_util.tree_map_with_path(
    lambda path, leaf: NamedSharding(
      mesh, get_spec(_get_name(path), leaf.shape, mesh.shape)
    ),
    tree,
  )


def get_spec(
  name: str, shape: tuple[int, ...], mesh_shape: Mapping[str, int]
) -> PartitionSpec:
  """Returns the axes of the mesh over which one array is split.

  Args:
    name: the name, such as `params/stack/blocks/mlp_in/kernel`.
    shape: the shape.
    mesh_shape: axis of the mesh -> its size.

  Raises:
    ConfigError: if heads or hidden layers do not divide over `tensor`.

  Example:
    >>> tuple(get_spec('mlp_in/kernel', (128, 512), {'fsdp': 4, 'tensor': 2}))
    ('fsdp', 'tensor')
  """
  logical = _get_logical_axes(name, len(shape))
  found = [MESH_AXES.get(axis) for axis in logical]
  _check_collisions(name, logical, found)
  tensor, fsdp = (mesh_shape.get(axis, 1) for axis in ('tensor', 'fsdp'))
  spec = [None] * len(shape)
  for i, axis in enumerate(found):
    if axis == 'tensor' and tensor > 1:
      if shape[i] % tensor:
        raise schema.ConfigError(
          f'config.parallel.tensor={tensor} must divide the axis '
          f'{logical[i]!r} of {name}, which is {shape[i]} long.'
        )
      spec[i] = 'tensor'
  if fsdp > 1 and math.prod(shape) >= MIN_SIZE:
    free = [i for i, n in enumerate(shape) if spec[i] is None and n % fsdp == 0]
    preferred = [i for i in free if found[i] == 'fsdp']
    # Never the axis of the layers, along which a scan runs.
    others = [i for i in free if logical[i] is not None]
    best = max(preferred or others, key=lambda i: shape[i], default=None)
    if best is not None:
      spec[best] = 'fsdp'
  return PartitionSpec(*spec)


def bytes_per_device(tree: Tree, shardings: Tree) -> int:
  """Returns the bytes that one device holds of a tree.

  Args:
    tree: arrays or their shapes.
    shardings: from `make_shardings`.
  """
  return sum(
    math.prod(sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
    for leaf, sharding in zip(
      jax.tree.leaves(tree), jax.tree.leaves(shardings), strict=True
    )
  )


def _get_name(path: tuple) -> str:
  """Returns the names of a path in a tree, separated by slashes."""
  return '/'.join(
    str(getattr(part, 'key', getattr(part, 'name', getattr(part, 'idx', ''))))
    for part in path
  )


def _get_logical_axes(name: str, ndim: int) -> tuple[str | None, ...]:
  """Returns the logical axis of each dimension; None for leading ones."""
  for pattern, axes in LOGICAL_AXES:
    if len(axes) <= ndim and re.search(rf'(^|/){pattern}$', name):
      break
  else:
    axes = ('other',) * ndim
  return (None,) * (ndim - len(axes)) + axes


def _check_collisions(
  name: str, logical: tuple[str | None, ...], found: list[str | None]
) -> None:
  """Raises ConfigError if two dimensions have one axis of the mesh."""
  for axis in {axis for axis in found if axis}:
    if found.count(axis) > 1:
      both = [
        x
        for x, mesh_axis in zip(logical, found, strict=True)
        if mesh_axis == axis
      ]
      raise schema.ConfigError(
        f'the axes {" and ".join(map(repr, both))} of {name} would both be '
        f'split over the axis {axis!r} of the mesh.'
      )
