"""The programs that a plan compiles: a training step, or sampling."""

import dataclasses
import math
from collections.abc import Callable
from collections.abc import Hashable
from collections.abc import Mapping
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec

from train import sharding
from train.planning.abstract import Training
from vq_jax.config import schema
from vq_jax.inference import codec
from vq_jax.inference import generate
from vq_jax.utils import devices as device_utils
from vq_jax.utils.trees import Tree


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
  """A program before its compilation.

  Attributes:
    name: what it does.
    traced: the program.
    arguments: its arguments, `jax.ShapeDtypeStruct`.
    group: arguments -> name of a kind -> those of this kind.
    placed: whether the arguments have shardings; else the program has them.
    kept: bytes on a device that are neither read nor returned by it.
  """

  name: str
  traced: jax.stages.Traced
  arguments: tuple
  group: Callable[[tuple], Mapping[str, Tree]]
  placed: bool = True
  kept: int = 0


def trace_step(
  training: Training,
  runner: sharding.JitRunner,
  phase: Hashable,
  batch_size: int,
) -> Source:
  """Returns a training step.

  Args:
    training: the training.
    runner: the devices.
    phase: the phase of the training.
    batch_size: number of examples on all devices together.
  """
  batch = training.get_batch(batch_size)
  arguments = (training.state, batch)
  prefetched = training.config.data.prefetch * get_bytes_per_device(batch)
  return Source(
    name='training step',
    traced=runner.compile(training.get_step(phase), training.state).trace(
      *arguments
    ),
    arguments=arguments,
    group=_group_state,
    placed=False,
    kept=prefetched // runner.mesh.size,
  )


def _group_state(arguments: tuple) -> dict[str, Tree]:
  state, batch = arguments
  return {
    'parameters': state.params,
    'codebook': state.codebook,
    'optimizer': state.opt_state,
    'ema': state.ema,
    'auxiliary': state.auxiliary,
    'frozen': state.frozen,
    'batch': batch,
  }


def trace_sampling(
  training: Training, devices: Sequence[jax.Device], batch_size: int
) -> list[Source]:
  """Returns the programs that `vq_jax.Model.generate` runs for a batch.

  Args:
    training: that of a prior.
    devices: the devices.
    batch_size: number of images on all devices together.

  Raises:
    ConfigError: if the model has no prior.
  """
  model = training.task.model
  if model.prior is None:
    raise schema.ConfigError(
      '--sample plans the sampling of a prior, and the task '
      f'{training.config.task!r} trains none.'
    )
  own = {'params': training.state.params}
  variables = {**model.variables, training.task.trained: own}
  model = dataclasses.replace(model, variables=variables)
  pipeline = model.pipeline()
  split = device_utils.batch_sharding(batch_size, devices)
  if split is None:
    raise schema.ConfigError(
      f'a batch of {batch_size} images (config.data.batch_size) does not divide'
      f' over {len(devices)} devices.'
    )
  whole = NamedSharding(split.mesh, PartitionSpec())

  def put(tree, where):
    return jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), tree
    )

  def rows(*shape, dtype=jnp.int32):
    return jax.ShapeDtypeStruct((batch_size, *shape), dtype, sharding=split)

  keys = put(
    jax.eval_shape(lambda: jax.random.split(jax.random.key(0), batch_size)),
    split,
  )
  sources, parent = [], None
  for number, level in enumerate(pipeline.levels):
    tokens = rows(level.prior.num_tokens)
    arguments = (
      put(level.variables, whole),
      None if level.critic is None else put(level.critic_variables, whole),
      (
        keys,
        tokens,
        rows(level.prior.num_tokens, dtype=jnp.bool_),
        rows() if level.prior.vocab.num_classes else None,
        parent,
      ),
    )
    parameters, critic, (_, _, known, label, condition) = arguments
    traced = generate.sample_tokens.trace(
      level.sampler,
      keys,
      level.prior,
      parameters,
      tokens,
      known,
      label,
      condition,
      critic=level.critic,
      critic_variables=critic,
    )
    sources.append(
      Source(
        name=f'sampler of level {number}',
        traced=traced,
        arguments=arguments,
        group=lambda a: {'parameters': a[0], 'critic': a[1], 'batch': a[2]},
      )
    )
    parent = tokens
  height, width, _ = pipeline.info.image_shape
  indices = [
    rows(*grid.shape(height, width))
    for grid in pipeline.autoencoder.token_grids
  ]
  arguments = (put(pipeline.variables, whole), codec.join(indices))
  sources.append(
    Source(
      name='decoder',
      traced=codec.decode_tokens.trace(pipeline.autoencoder, *arguments),
      arguments=arguments,
      group=lambda a: {'parameters': a[0], 'batch': a[1]},
    )
  )
  return sources


def get_bytes_per_device(tree: Tree) -> int:
  """Returns the bytes of a tree of shapes on each device."""

  def get_bytes(x: jax.ShapeDtypeStruct) -> int:
    shape = x.shape if x.sharding is None else x.sharding.shard_shape(x.shape)
    return math.prod(shape) * x.dtype.itemsize

  return sum(get_bytes(x) for x in jax.tree.leaves(tree))
