"""Chips, and topologies of them without a single one at hand."""

import contextlib
import dataclasses
import importlib.util
import math
import os
import re

import jax
from jax.experimental import topologies

from vq_jax.config import schema
from vq_jax.utils import names

GIB = 2**30


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chip:
  """What is published about a chip.

  Attributes:
    usable: bytes of its HBM that the compiler gives to a program.
    flops: peak of operations per second in bfloat16.
    flops_per_cycle: the same per cycle: 2 for each cell of all matrix units.
    bandwidth: bytes that it can send to other chips per second, over all links.
    most: number of chips of the largest slice.
    config: name of the configuration of libtpu in which a chip is one device.
  """

  usable: int
  flops: float
  flops_per_cycle: int
  bandwidth: float
  most: int
  config: str = 'default'

  @property
  def clock(self) -> float:
    """Cycles per second at which it reaches its peak."""
    return self.flops / self.flops_per_cycle


# https://cloud.google.com/tpu/docs/system-architecture-tpu-vm. A link has twice
# the `bandwidth` if both directions are counted.
CHIPS = {
  'v4': Chip(
    usable=int(30.75 * GIB),
    flops=275e12,
    flops_per_cycle=2 * 8 * 128**2,
    bandwidth=300e9,
    most=4096,
    config='megacore',
  ),
  'v5e': Chip(
    usable=int(15.75 * GIB),
    flops=197e12,
    flops_per_cycle=2 * 4 * 128**2,
    bandwidth=200e9,
    most=256,
  ),
  'v5p': Chip(
    usable=int(95.73 * GIB),
    flops=459e12,
    flops_per_cycle=2 * 8 * 128**2,
    bandwidth=600e9,
    most=6144,
    config='megacore',
  ),
  'v6e': Chip(
    usable=int(31.24 * GIB),
    flops=918e12,
    flops_per_cycle=2 * 4 * 256**2,
    bandwidth=400e9,
    most=256,
  ),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Topology:
  """Devices to compile for.

  Attributes:
    name: as the user gives it, such as 'v5e:4x4'.
    devices: the devices.
    chip: what is known of them; None for a CPU.
  """

  name: str
  devices: tuple[jax.Device, ...]
  chip: Chip | None

  def get_host_devices(self) -> tuple[jax.Device, ...]:
    """Returns the devices of the first host."""
    first = self.devices[0].process_index
    return tuple(d for d in self.devices if d.process_index == first)


def open_topology(name: str) -> Topology:
  """Returns the devices of a topology.

  Args:
    name: such as 'v5e:4x4' or 'v4:4x4x4'; 'cpu:8' are eight devices of the CPU.

  Raises:
    ConfigError: if there is no such topology, or libtpu is missing.
  """
  kind, _, shape = name.partition(':')
  if kind == 'cpu' and shape.isdigit():
    return _open_cpu(name, int(shape))
  if kind not in CHIPS:
    hint = names.unknown('the chip of --topology', kind, [*CHIPS, 'cpu'])
    raise schema.ConfigError(
      f'{hint} The compiler for GPUs needs a GPU at hand, so GPUs cannot be '
      'planned for.'
    )
  if not re.fullmatch(r'[1-9]\d*(x[1-9]\d*){1,2}', shape):
    raise schema.ConfigError(
      f'a topology of {kind} is written {kind}:4x4 or {kind}:2x2x4; got '
      f'{name!r}.'
    )
  number = math.prod(int(n) for n in shape.split('x'))
  if number > CHIPS[kind].most:
    raise schema.ConfigError(
      f'a slice of {kind} has at most {CHIPS[kind].most} chips; --topology='
      f'{name} has {number}.'
    )
  return _open_tpu(name, kind)


def _open_cpu(name: str, number: int) -> Topology:
  with contextlib.suppress(RuntimeError):  # the devices are started already
    most = max(number, jax.config.jax_num_cpu_devices, 1)
    jax.config.update('jax_num_cpu_devices', most)
  devices = jax.devices('cpu')
  if not 0 < number <= len(devices):
    raise schema.ConfigError(
      f'--topology={name} must name at least 1 and here at most '
      f'{len(devices)} devices of the CPU.'
    )
  return Topology(name=name, devices=tuple(devices[:number]), chip=None)


def _open_tpu(name: str, kind: str) -> Topology:
  if importlib.util.find_spec('libtpu') is None:
    raise schema.ConfigError(
      'the compiler for TPUs is not installed: pip install "vq_jax[plan]" '
      '(libtpu, Linux on x86-64).'
    )
  # libtpu asks a server about the TPU that it runs on, and locks it. There is
  # none here.
  os.environ |= {
    'TPU_SKIP_MDS_QUERY': '1',
    'TPU_ACCELERATOR_TYPE': 'v5litepod-16',  # any that there is
    'TPU_WORKER_HOSTNAMES': 'localhost',
    'ALLOW_MULTIPLE_LIBTPU_LOAD': '1',
  }
  try:
    found = topologies.get_topology_desc(
      platform='tpu', topology_name=name, chip_config_name=CHIPS[kind].config
    )
  except jax.errors.JaxRuntimeError as error:
    text = str(error).splitlines()[0]
    raise schema.ConfigError(
      f'libtpu knows no topology {name}: {text}'
    ) from error
  return Topology(name=name, devices=tuple(found.devices), chip=CHIPS[kind])
