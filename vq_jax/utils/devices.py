"""Sharding of batches over the devices."""

import jax
from jax.sharding import AxisType
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec


def batch_sharding(batch_size: int) -> jax.sharding.Sharding | None:
  """Returns a sharding of a batch over all devices.

  Args:
    batch_size: number of examples of the batch.

  Returns:
    The sharding; None if the number of devices does not divide the batch size.
  """
  devices = jax.devices()
  if batch_size % len(devices):
    return None
  mesh = jax.make_mesh(
    (len(devices),), ('data',), (AxisType.Auto,), devices=devices
  )
  return NamedSharding(mesh, PartitionSpec('data'))
