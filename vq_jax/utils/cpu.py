"""CPU cores as devices."""

import contextlib
import os
from collections.abc import Sequence
from typing import Any

import jax

# With fewer examples per core, exchanging gradients costs more than it saves.
_EXAMPLES_PER_CORE = 8


def use_cpu_cores(*batch_sizes: int) -> None:
  """Makes each CPU core a device, as many cores as divide all batches.

  XLA runs many operations on one core per device, so training on two cores is
  up to twice as fast with this. It has no effect after JAX has started its
  devices, on a GPU or TPU, or if `jax_num_cpu_devices` is set already
  (environment variable JAX_NUM_CPU_DEVICES).

  Args:
    *batch_sizes: the sizes that the number of devices must divide.
  """
  config: Any = jax.config  # its flags are not typed
  if config.jax_num_cpu_devices != -1:
    return
  affinity = getattr(os, 'sched_getaffinity', None)  # not on a Mac
  cores = len(affinity(0)) if affinity else os.cpu_count() or 1
  devices = count_cpu_devices(cores, batch_sizes)
  with contextlib.suppress(RuntimeError):  # the devices are started already
    jax.config.update('jax_num_cpu_devices', devices)


def count_cpu_devices(cores: int, batch_sizes: Sequence[int]) -> int:
  """Returns the largest useful number of cores that divides all batches."""
  most = max(1, min(cores, min(batch_sizes) // _EXAMPLES_PER_CORE))
  numbers = range(1, most + 1)
  return max(n for n in numbers if not any(b % n for b in batch_sizes))
