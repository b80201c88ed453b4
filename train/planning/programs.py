"""The programs that a plan compiles: a training step, or sampling."""

import dataclasses
from collections.abc import Callable
from collections.abc import Hashable
from collections.abc import Mapping
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec

from train import partitioning
from train import sharding
from train.planning import flops
from train.planning.abstract import Training
from vq_jax import inference
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
    shardings: how they are split over the devices, in the same structure.
    kept: bytes on a device that are neither read nor returned by it.
  """

  name: str
  traced: jax.stages.Traced
  arguments: tuple
  group: Callable[[tuple], Mapping[str, Tree]]
  shardings: tuple
  kept: int = 0

  @property
  def platform(self) -> str:
    """That of the devices, such as 'tpu'."""
    sharding = jax.tree.leaves(self.shardings)[0]
    return next(iter(sharding.device_set)).platform

  @property
  def flops(self) -> int:
    """Operations of all matrix products and convolutions."""
    return flops.count(self.traced.jaxpr.jaxpr, self.platform)


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
  shardings = (
    runner.get_shardings(training.state),
    {name: runner.batch_sharding for name in batch},
  )
  ahead = partitioning.bytes_per_device(batch, shardings[1])
  return Source(
    name='training step',
    traced=runner.compile(training.get_step(phase), training.state).trace(
      *arguments
    ),
    arguments=arguments,
    group=_group_state,
    shardings=shardings,
    kept=training.config.data.prefetch * ahead,
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Batch:
  """The shapes of a batch of images that are sampled.

  Attributes:
    size: number of images on all devices together.
    split: how they are split over the devices.
  """

  size: int
  split: NamedSharding

  def make_rows(self, *shape: int, dtype=jnp.int32) -> jax.ShapeDtypeStruct:
    """Returns an array [B, *shape]."""
    return jax.ShapeDtypeStruct((self.size, *shape), dtype, sharding=self.split)

  def make_keys(self) -> jax.ShapeDtypeStruct:
    """Returns one key for each image."""
    dtype = jax.eval_shape(lambda: jax.random.key(0)).dtype
    return self.make_rows(dtype=dtype)

  def put_beside(self, tree: Tree) -> Tree:
    """Returns a tree of shapes that are whole on each device."""
    whole = NamedSharding(self.split.mesh, PartitionSpec())
    return jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=whole), tree
    )


def trace_sampling(
  training: Training, devices: Sequence[jax.Device], batch_size: int
) -> list[Source]:
  """Returns the programs that `vq_jax.Model.generate` runs for a batch.

  Args:
    training: that of a prior.
    devices: the devices of a host.
    batch_size: number of images on all of them together, which they divide.

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
  split = device_utils.split_over(devices)
  batch = _Batch(size=batch_size, split=split)

  sources, parent = [], None
  with device_utils.on_mesh(split):
    for number, level in enumerate(pipeline.levels):
      sources.append(_trace_sampler(number, level, parent, batch))
      parent = batch.make_rows(level.prior.num_tokens)
    sources.append(_trace_decoder(pipeline, batch))
  return sources


def _trace_sampler(
  number: int,
  level: inference.Level,
  parent: jax.ShapeDtypeStruct | None,
  batch: _Batch,
) -> Source:
  """Returns the sampler of a level, as `generate.sample_levels` runs it.

  Args:
    number: that of the level.
    level: the prior and its sampler.
    parent: tokens of the parent level.
    batch: the batch.
  """
  prior, size = level.prior, level.prior.num_tokens
  parameters = batch.put_beside(level.variables)
  critic = batch.put_beside(level.critic_variables)
  inputs = {
    'keys': batch.make_keys(),
    'tokens': batch.make_rows(size),
    'known': batch.make_rows(size, dtype=jnp.bool_),
    'label': batch.make_rows() if prior.vocab.num_classes else None,
    'condition': parent,
  }
  arguments = (parameters, critic, inputs)
  return Source(
    name=f'sampler of level {number}',
    traced=generate.sample_tokens.trace(
      sampler=level.sampler,
      prior=prior,
      variables=parameters,
      critic=level.critic,
      critic_variables=critic,
      **inputs,
    ),
    arguments=arguments,
    shardings=_get_shardings(arguments),
    group=lambda a: {'parameters': a[0], 'critic': a[1], 'batch': a[2]},
  )


def _trace_decoder(pipeline: inference.Pipeline, batch: _Batch) -> Source:
  """Returns the decoder of tokens; see `_trace_sampler`."""
  height, width, _ = pipeline.info.image_shape
  indices = [
    batch.make_rows(*grid.shape(height, width))
    for grid in pipeline.autoencoder.token_grids
  ]
  arguments = (batch.put_beside(pipeline.variables), codec.join(indices))
  return Source(
    name='decoder',
    traced=codec.decode_tokens.trace(pipeline.autoencoder, *arguments),
    arguments=arguments,
    shardings=_get_shardings(arguments),
    group=lambda a: {'parameters': a[0], 'batch': a[1]},
  )


def _get_shardings(arguments: tuple) -> tuple:
  return jax.tree.map(lambda x: x.sharding, arguments)
