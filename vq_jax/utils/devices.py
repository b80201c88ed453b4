"""The devices of this process, and the other processes of a program."""

import contextlib
import math
import os
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import AxisType
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec

# Environment variables of programs that start one process per host, Slurm's and
# Open MPI's; JAX reads the rest by itself.
_LAUNCHERS = ('SLURM_STEP_NUM_TASKS', 'OMPI_COMM_WORLD_SIZE')


def initialize_distributed(environ: Mapping[str, str] = os.environ) -> bool:
  """Connects to the other processes, if the environment names any.

  TPU pods, Slurm and Open MPI do. Elsewhere JAX_COORDINATOR_ADDRESS,
  JAX_NUM_PROCESSES and JAX_PROCESS_ID do, all three.

  Returns:
    Whether there are other processes.

  Raises:
    ValueError: if the address is given, and the number is missing or wrong.
  """
  if 'JAX_COORDINATOR_ADDRESS' in environ:
    count = _read_number(environ, 'JAX_NUM_PROCESSES', least=1)
    index = _read_number(environ, 'JAX_PROCESS_ID', least=0)
    jax.distributed.initialize(num_processes=count, process_id=index)
    return count > 1
  hosts = environ.get('TPU_WORKER_HOSTNAMES', '').split(',')
  several = len(hosts) > 1 or any(
    environ.get(name, '1') != '1' for name in _LAUNCHERS
  )
  if several:
    jax.distributed.initialize()
  return several


def _read_number(environ: Mapping[str, str], name: str, least: int) -> int:
  """Returns the number in an environment variable."""
  text = environ.get(name, '')
  if not text.isdecimal() or int(text) < least:
    raise ValueError(
      f'with JAX_COORDINATOR_ADDRESS, the environment variable {name} must be '
      f'an integer of at least {least}; got {text!r}.'
    )
  return int(text)


def batch_sharding(
  batch_size: int | None = None,
) -> NamedSharding | None:
  """Returns a sharding of a batch over all devices of this process.

  Args:
    batch_size: number of examples of the batch, if it is fixed.

  Returns:
    The sharding; None if there is only one device, or if the number of devices
    does not divide the batch size.
  """
  devices = jax.local_devices()
  if len(devices) == 1 or (batch_size or 0) % len(devices):
    return None
  return split_over(devices)


def split_over(devices: Sequence[jax.Device]) -> NamedSharding:
  """Returns the sharding of a batch over some devices."""
  mesh = jax.make_mesh(
    (len(devices),), ('data',), (AxisType.Auto,), devices=devices
  )
  return NamedSharding(mesh, PartitionSpec('data'))


def on_mesh(
  sharding: jax.sharding.Sharding | None,
) -> contextlib.AbstractContextManager:
  """Returns a context in which functions are compiled for a split batch.

  Kernels are used there only if they can tell from the mesh how arrays are
  split; see `attention_on_mesh.is_available`.

  Args:
    sharding: that of the batch, or None for one device.
  """
  if not isinstance(sharding, NamedSharding):
    return contextlib.nullcontext()
  return jax.sharding.use_abstract_mesh(sharding.mesh.abstract_mesh)


def round_up(size: int, sharding: jax.sharding.Sharding | None) -> int:
  """Returns the smallest size, at least `size`, that a sharding divides."""
  parts = 1 if sharding is None else sharding.num_devices
  return math.ceil(size / parts) * parts


def split_over_processes(num: int) -> range:
  """Returns the part of `range(num)` that this process works on.

  The parts of all processes follow one another, and all but the last ones have
  the same length. A process for which nothing is left repeats the last number,
  which `gather_from_processes` drops.

  Args:
    num: at least 1.
  """
  part = math.ceil(num / jax.process_count())
  start = min(jax.process_index() * part, num - 1)
  return range(start, min(start + part, num))


def gather_from_processes(rows: np.ndarray, num: int) -> np.ndarray:
  """Joins the rows of all processes, which `split_over_processes` divided.

  Args:
    rows: [n, ...], those of this process.
    num: number of all rows.

  Returns:
    [num, ...], on each process.
  """
  if jax.process_count() == 1:
    return rows
  from jax.experimental import multihost_utils

  missing = math.ceil(num / jax.process_count()) - len(rows)
  rows = np.pad(rows, [(0, missing)] + [(0, 0)] * (rows.ndim - 1))
  return multihost_utils.process_allgather(rows, tiled=True)[:num]


def first_process_first(function: Callable[[], None]) -> None:
  """Calls a function in the first process, and then in the others."""
  for first in (True, False):
    if (jax.process_index() == 0) == first:
      function()
    wait_for_processes(f'first_{first}')


def wait_for_processes(name: str) -> None:
  """Waits until all processes have come to the point of this name."""
  if jax.process_count() > 1:
    from jax.experimental import multihost_utils

    multihost_utils.sync_global_devices(name)


def is_split(x: jax.Array) -> bool:
  """Returns whether an array is split over devices, or may be."""
  return isinstance(x, jax.core.Tracer) or len(x.devices()) > 1
