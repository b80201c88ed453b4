"""Meshes, and the compilation of a training step by jit or pmap.

No other module of `train` makes a mesh or calls jit or pmap for a step. A
runner has the same methods for both: `place` puts a state on the devices,
`transfer` puts a batch there, `compile` compiles a pure step, and `gather`
returns one copy of a state.
"""

import contextlib
import dataclasses
import functools
import os
import warnings
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence

import flax.jax_utils
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec

from vq_jax.config import schema
from vq_jax.utils.trees import Tree

PMAP_AXIS = 'batch'
_BATCH = PartitionSpec(('data', 'fsdp'))

# With fewer examples per core, exchanging gradients costs more than it saves.
_EXAMPLES_PER_CORE = 8

# Since jaxlib 0.10, XLA:CPU computes convolutions with a library that takes 1.3
# to 2 times as long as XLA's own code. This excludes convolutions from it.
_CPU_OPTIONS = {
  'xla_cpu_experimental_ynn_fusion_type': (
    'LIBRARY_FUSION_TYPE_DOT,LIBRARY_FUSION_TYPE_REDUCE'
  )
}

# Environment variables of programs that start one process per host: JAX's own,
# Slurm's and Open MPI's.
_LAUNCHERS = (
  'JAX_COORDINATOR_ADDRESS',
  'SLURM_STEP_NUM_TASKS',
  'OMPI_COMM_WORLD_SIZE',
)


def initialize_distributed(environ: Mapping[str, str] = os.environ) -> bool:
  """Connects to the other processes, if the environment names any.

  Returns:
    Whether there are other processes.
  """
  hosts = environ.get('TPU_WORKER_HOSTNAMES', '').split(',')
  several = len(hosts) > 1 or any(
    environ.get(name, '1') != '1' for name in _LAUNCHERS
  )
  if several:
    jax.distributed.initialize()
  return several


def use_cpu_cores(*batch_sizes: int) -> None:
  """Makes each CPU core a device, as many cores as divide all batches.

  XLA runs many operations on one core per device, so training on two cores is
  up to twice as fast with this. It has no effect after JAX has started its
  devices, on a GPU or TPU, or if `jax_num_cpu_devices` is set already
  (environment variable JAX_NUM_CPU_DEVICES).

  Args:
    *batch_sizes: the sizes that the number of devices must divide.
  """
  if jax.config.jax_num_cpu_devices != -1:
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


def make_mesh(
  settings: schema.ParallelConfig,
  devices: Sequence[jax.Device] | None = None,
  batch_sizes: Sequence[int] = (),
) -> jax.sharding.Mesh:
  """Returns a mesh of the first devices, with the axes `data` and `fsdp`.

  Args:
    settings: the config section `parallel`.
    devices: devices that may be used; all by default.
    batch_sizes: sizes of the batches of all devices together. If `data` is -1,
      the mesh has as many devices as divide all batches; with several hosts, it
      has all devices.

  Raises:
    ConfigError: if there are fewer devices, or several hosts would not use all
      devices.
  """
  devices = jax.devices() if devices is None else devices
  n, fsdp = len(devices), settings.fsdp
  data = max(n // fsdp, 1) if settings.data == -1 else settings.data
  if settings.data == -1 and jax.process_count() == 1:
    while data > 1 and any(size % (data * fsdp) for size in batch_sizes):
      data -= 1
  several = jax.process_count() > 1
  if data * fsdp > n or (several and data * fsdp != n):
    raise schema.ConfigError(
      f'the mesh data x fsdp = {data} x {fsdp} must hold '
      f'{"all" if several else "at most"} the {n} devices there are; set '
      'parallel.data=-1 to let it follow.'
    )
  idle = settings.data == -1 and data * fsdp < n // fsdp * fsdp
  if idle and devices[0].platform != 'cpu':
    warnings.warn(
      f'{data * fsdp} of {n} devices are used: batches of '
      f'{" and ".join(map(str, batch_sizes))} images divide over no more.',
      stacklevel=2,
    )
  return jax.make_mesh(
    (data, fsdp),
    ('data', 'fsdp'),
    (AxisType.Auto,) * 2,
    devices=devices[: data * fsdp],
  )


def bind_axis(module: nn.Module, axis_name: str | None) -> nn.Module:
  """Returns a module with `axis_name` set in it and in its submodules."""
  changes = {}
  for field in dataclasses.fields(module):
    value = getattr(module, field.name)
    if field.name == 'axis_name':
      changes[field.name] = axis_name
    elif isinstance(value, nn.Module) and field.name != 'parent':
      changes[field.name] = bind_axis(value, axis_name)
  return module.clone(**changes) if changes else module


@functools.cache
def _compiler_options() -> dict[str, str] | None:
  """Returns the compiler options of a training step, as far as they exist."""
  if jax.default_backend() != 'cpu':
    return None
  try:
    jax.jit(jnp.negative, compiler_options=_CPU_OPTIONS).lower(0.0).compile()
  except jax.errors.JaxRuntimeError:
    return None
  return _CPU_OPTIONS


@jax.jit
def _copy(tree: Tree) -> Tree:
  return jax.tree.map(jnp.copy, tree)


class JitRunner:
  """Runs jit over a mesh: batches are split, the state is replicated."""

  axis_name: str | None = None

  def __init__(
    self,
    settings: schema.ParallelConfig,
    devices: Sequence[jax.Device] | None = None,
    batch_sizes: Sequence[int] = (),
  ):
    """See `make_mesh`."""
    self.mesh = make_mesh(settings, devices, batch_sizes)
    self._replicated = NamedSharding(self.mesh, PartitionSpec())
    self._split = NamedSharding(self.mesh, _BATCH)

  def place(self, state: Tree) -> Tree:
    """Puts a copy of a state on the devices, which a step may overwrite."""
    # `device_put` alone may share a buffer with the original. The first step,
    # to which the state is donated, would then delete it.
    return _copy(jax.device_put(state, self._replicated))

  def gather(self, state: Tree) -> Tree:
    """Returns the state as global arrays, to evaluate or to save it."""
    return state

  def transfer(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    """Puts this process's part of a training batch on its devices."""
    return self.transfer_eval(batch)

  def compile(self, step: Callable) -> Callable:
    """Compiles (state, batch) -> (state, metrics); the state is donated."""
    return jax.jit(
      step,
      in_shardings=(self._replicated, self._split),
      out_shardings=(self._replicated, self._replicated),
      donate_argnums=0,
      compiler_options=_compiler_options(),
    )

  def transfer_eval(self, batch: Mapping[str, np.ndarray]):
    """Puts this process's part of an evaluation batch on its devices."""
    return {
      name: jax.make_array_from_process_local_data(self._split, value)
      for name, value in batch.items()
    }

  def compile_eval(self, function: Callable) -> Callable:
    """Compiles (gathered variables, batch) -> a tree, replicated."""
    return jax.jit(
      function,
      in_shardings=(self._replicated, self._split),
      out_shardings=self._replicated,
    )

  def abstract(self, tree: Tree) -> Tree:
    """Returns shapes and shardings for the arrays of a checkpoint."""
    return jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(
        x.shape, x.dtype, sharding=self._replicated
      ),
      tree,
    )


def _first(x: jax.Array) -> jax.Array:
  """Returns the first copy of a replicated array, from its device."""
  return x.addressable_data(0).reshape(x.shape[1:])


class PmapRunner(JitRunner):
  """Runs pmap: each device holds a part of the batch and the whole state.

  Evaluations use jit.
  """

  axis_name = PMAP_AXIS

  def _local_devices(self) -> list[jax.Device]:
    """Returns this process's devices of the mesh."""
    return list(self.mesh.local_devices)

  def place(self, state: Tree) -> Tree:
    """Puts a copy of the state on each device, on a leading axis."""
    return flax.jax_utils.replicate(state, self._local_devices())

  def gather(self, state: Tree) -> Tree:
    """Returns the first copy; all copies are equal."""
    one = jax.device_get(jax.tree.map(_first, state))
    return super().place(one)

  def transfer(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    """Splits this process's part of a batch over its devices."""
    n = len(self._local_devices())
    return {
      name: np.reshape(value, (n, -1, *value.shape[1:]))
      for name, value in batch.items()
    }

  def compile(self, step: Callable) -> Callable:
    """Compiles (state, batch) -> (state, metrics); the state is donated."""
    mapped = jax.pmap(
      step,
      axis_name=self.axis_name,
      donate_argnums=0,
      # Several hosts use all devices, which pmap takes by itself.
      devices=None if jax.process_count() > 1 else self._local_devices(),
    )

    def run(state, batch):
      state, metrics = mapped(state, batch)
      return state, jax.tree.map(_first, metrics)

    return run


def make_runner(
  settings: schema.ParallelConfig,
  devices: Sequence[jax.Device] | None = None,
  batch_sizes: Sequence[int] = (),
) -> JitRunner:
  """Returns the runner of a mode; see `make_mesh`."""
  runners = {'jit': JitRunner, 'pmap': PmapRunner}
  return runners[settings.mode](settings, devices, batch_sizes)
