"""Attention of each device of a mesh to its own examples and heads."""

import math
from collections.abc import Callable
from typing import TypeVar

import jax
from jax.sharding import AbstractMesh
from jax.sharding import PartitionSpec

from vq_jax.utils import replicas

R = TypeVar('R')


def get_platform() -> str | None:
  """Returns the platform of the mesh, if known; without one, the default."""
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty:
    return jax.default_backend()
  return mesh.abstract_device and mesh.abstract_device.platform


def is_available(platform: str, query: jax.Array) -> bool:
  """Returns whether `split` can be used here.

  There must be a mesh of such devices that tells how arrays are split, see
  `replicas.BATCH_SPEC`, or a single device.

  Args:
    platform: that of the devices, such as 'tpu'.
    query: [B, N, heads, head_dim].
  """
  if get_platform() != platform:
    return False
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty or not mesh.auto_axes:
    return jax.device_count() == 1
  examples, heads = _get_axes(mesh)
  divides = query.shape[0] % _size(mesh, examples) == 0
  divides &= query.shape[2] % _size(mesh, heads) == 0
  return divides and {*examples, *heads} == {*mesh.auto_axes}


def split(function: Callable[..., R], *arrays: jax.Array | None) -> R:
  """Calls a function on each device with its examples and heads.

  The compiler cannot split a kernel over devices, and would gather the examples
  of a loop that takes them one after the other.

  Args:
    function: takes the arrays and returns arrays [B, heads, ...].
    *arrays: [B, heads, _, _], or [N, M] for all examples and heads, or None.
  """
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty or not mesh.auto_axes:
    return function(*arrays)
  parts = PartitionSpec(*_get_axes(mesh))
  return jax.shard_map(
    function,
    in_specs=tuple(
      None if x is None else parts if x.ndim == 4 else PartitionSpec()
      for x in arrays
    ),
    out_specs=parts,
    check_vma=False,
  )(*arrays)


def _get_axes(mesh: AbstractMesh) -> tuple[tuple[str, ...], tuple[str, ...]]:
  """Returns the axes of a mesh that split examples, and those of heads."""
  examples = (name for name in replicas.BATCH_SPEC[0] if name in mesh.shape)
  heads = (name for name in ('tensor',) if name in mesh.shape)
  return tuple(examples), tuple(heads)


def _size(mesh: AbstractMesh, names: tuple[str, ...]) -> int:
  return math.prod(mesh.shape[name] for name in names)
