"""Meshes, and the compilation of a training step by jit or pmap.

No other module of `train` makes a mesh or calls jit or pmap for a step. A
runner has the same methods for both: `init` computes a state on the devices,
`place` prepares it for the steps, `transfer` puts a batch there, `compile`
compiles a pure step, and `gather` returns a state as global arrays.
"""

import dataclasses
import functools
import warnings
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence

import flax.jax_utils
import flax.linen as nn
import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec

from train import partitioning
from vq_jax.config import schema
from vq_jax.utils import compilation
from vq_jax.utils import replicas
from vq_jax.utils.trees import Tree

PMAP_AXIS = 'batch'


def make_mesh(
  settings: schema.ParallelConfig,
  devices: Sequence[jax.Device] | None = None,
  batch_sizes: Sequence[int] = (),
) -> jax.sharding.Mesh:
  """Returns a mesh of the first devices: `data`, `fsdp` and `tensor`.

  Args:
    settings: the config section `parallel`.
    devices: devices that may be used; all by default.
    batch_sizes: sizes of the batches of all devices together. If `data` is -1,
      the mesh has as many devices as divide all batches; with several hosts, it
      has all devices.

  Raises:
    ConfigError: if there are fewer devices, several hosts would not use all
      devices, or `tensor` would reach over several hosts.
  """
  devices = jax.devices() if devices is None else devices
  n, fsdp, tensor = len(devices), settings.fsdp, settings.tensor
  fixed = fsdp * tensor
  data = max(n // fixed, 1) if settings.data == -1 else settings.data
  if settings.data == -1 and jax.process_count() == 1:
    while data > 1 and any(size % (data * fsdp) for size in batch_sizes):
      data -= 1
  several = jax.process_count() > 1
  if data * fixed > n or (several and data * fixed != n):
    raise schema.ConfigError(
      f'the mesh data x fsdp x tensor = {data} x {fsdp} x {tensor} must hold '
      f'{"all" if several else "at most"} the {n} devices there are; set '
      'parallel.data=-1 to let it follow.'
    )
  if several and jax.local_device_count() % tensor:
    raise schema.ConfigError(
      f'config.parallel.tensor={tensor} must divide the '
      f'{jax.local_device_count()} devices of a host.'
    )
  idle = settings.data == -1 and data * fixed < n // fixed * fixed
  if idle and devices[0].platform != 'cpu':
    warnings.warn(
      f'{data * fixed} of {n} devices are used: batches of '
      f'{" and ".join(map(str, batch_sizes))} images divide over no more.',
      stacklevel=2,
    )
  return jax.make_mesh(
    (data, fsdp, tensor),
    ('data', 'fsdp', 'tensor'),
    (AxisType.Auto,) * 3,
    devices=devices[: data * fixed],
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


class JitRunner:
  """Runs jit over a mesh: batches and the state are split, see `partitioning`.

  Attributes:
    mesh: the mesh.
    batch_sharding: the sharding of a batch.
  """

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
    self.batch_sharding = NamedSharding(self.mesh, replicas.BATCH_SPEC)

  @property
  def batch_parts(self) -> int:
    """The number of parts into which a batch is split."""
    return self.mesh.shape['data'] * self.mesh.shape['fsdp']

  def get_shardings(self, tree: Tree) -> Tree:
    """Returns the sharding of each array of a state, given arrays or shapes."""
    return partitioning.make_shardings(tree, self.mesh)

  def init(self, function: Callable[..., Tree], *args: Tree) -> Tree:
    """Computes the tree of a function of arrays, split from the start."""
    shardings = self.get_shardings(jax.eval_shape(function, *args))
    return jax.jit(function, out_shardings=shardings)(*args)

  def put(self, tree: Tree) -> Tree:
    """Puts a copy of a tree on the devices, split as a state is."""
    # The first step, to which the state is donated, would delete a buffer that
    # the original shares.
    return jax.device_put(tree, self.get_shardings(tree), may_alias=False)

  def place(self, state: Tree) -> Tree:
    """Prepares a state that is on the devices for the steps."""
    return state

  def gather(self, state: Tree) -> Tree:
    """Returns the state as global arrays, to evaluate or to save it."""
    return state

  def transfer(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    """Puts this process's part of a training batch on its devices."""
    return self.transfer_eval(batch)

  def compile(self, step: Callable, state: Tree) -> Callable:
    """Compiles (state, batch) -> (state, metrics); the state is donated.

    Args:
      step: the function.
      state: a state from `place`, or its shapes.
    """
    shardings = self.get_shardings(state)
    return jax.jit(
      self._on_mesh(step),
      in_shardings=(shardings, self.batch_sharding),
      out_shardings=(shardings, self._replicated),
      donate_argnums=0,
      compiler_options=self._get_compiler_options(),
    )

  def transfer_eval(self, batch: Mapping[str, np.ndarray]):
    """Puts this process's part of an evaluation batch on its devices."""
    return {
      name: jax.make_array_from_process_local_data(self.batch_sharding, value)
      for name, value in batch.items()
    }

  def compile_eval(self, function: Callable) -> Callable:
    """Compiles (gathered variables, batch) -> a tree, replicated."""
    return jax.jit(
      self._on_mesh(function),
      out_shardings=self._replicated,
      compiler_options=self._get_compiler_options(),
    )

  def _get_compiler_options(self) -> dict[str, str] | None:
    return compilation.get_compiler_options(self.mesh.devices.flat[0])

  def _on_mesh(self, function: Callable) -> Callable:
    """Returns a function that knows the mesh; see `replicas.split_batch`."""

    @functools.wraps(function)
    def run(*args):
      with jax.sharding.use_abstract_mesh(self.mesh.abstract_mesh):
        return function(*args)

    return run

  def abstract(self, tree: Tree) -> Tree:
    """Returns shapes and shardings for the arrays of a checkpoint."""
    return jax.tree.map(
      lambda x, sharding: jax.ShapeDtypeStruct(
        x.shape, x.dtype, sharding=sharding
      ),
      tree,
      self.get_shardings(tree),
    )


def get_host_copy(tree: Tree) -> Tree:
  """Returns the arrays of a tree as numpy arrays, whole on each host."""
  return jax.tree.map(
    lambda x: (
      multihost_utils.process_allgather(x, tiled=True)
      if isinstance(x, jax.Array) and not x.is_fully_addressable
      else np.asarray(x)
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
    own = jax.tree.map(lambda x: x.addressable_data(0), state)
    return flax.jax_utils.replicate(own, self._local_devices())

  def gather(self, state: Tree) -> Tree:
    """Returns the first copy; all copies are equal."""
    return self.put(jax.device_get(jax.tree.map(_first, state)))

  def transfer(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    """Splits this process's part of a batch over its devices."""
    local = self._local_devices()
    mesh = jax.sharding.Mesh(np.array(local), (self.axis_name,))
    parts = {
      name: np.reshape(value, (len(local), -1, *value.shape[1:]))
      for name, value in batch.items()
    }
    split = NamedSharding(mesh, PartitionSpec(self.axis_name))
    return jax.device_put(parts, split)

  def compile(self, step: Callable, state: Tree) -> Callable:
    """Compiles (state, batch) -> (state, metrics); the state is donated."""
    del state
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
