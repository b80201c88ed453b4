"""Spreading a batch of images over the devices there are."""

import jax
from jax.sharding import AxisType
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec


def batch_sharding(batch_size: int) -> jax.sharding.Sharding | None:
  """Spreads a batch over all devices; None if it does not divide."""
  devices = jax.devices()
  if batch_size % len(devices):
    return None
  mesh = jax.make_mesh(
    (len(devices),), ('data',), (AxisType.Auto,), devices=devices
  )
  return NamedSharding(mesh, PartitionSpec('data'))
