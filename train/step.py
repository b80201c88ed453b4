"""The training step, for every task."""

import functools
from collections.abc import Callable
from collections.abc import Hashable
from collections.abc import Mapping
from typing import Protocol

import jax
import jax.numpy as jnp
import optax

from train import optim
from train import skipping
from train.state import TrainState
from vq_jax import quantizers
from vq_jax.config import schema
from vq_jax.utils import replicas
from vq_jax.utils.trees import Tree

Metrics = dict[str, jax.Array]

# (state, batch, rngs) -> (gradients, codebook, metrics)
GradientsFn = Callable[..., tuple[dict[str, Tree], Tree, Metrics]]
Step = Callable[[TrainState, Mapping], tuple[TrainState, Metrics]]


class Trainable(Protocol):
  """The methods of `train.tasks.base.Task` that a step needs."""

  def gradients(
    self, phase: Hashable, state: TrainState, batch: Mapping, rngs: Mapping
  ) -> tuple[dict[str, Tree], Tree, Metrics]:
    """Returns the gradients, the new codebook, and metrics.

    The gradients are a dict: 'params' holds those of `state.params`. A task may
    add others, which its `after_update` applies.
    """

  def after_update(
    self,
    phase: Hashable,
    state: TrainState,
    grads: Mapping[str, Tree],
    metrics: Metrics,
    mean_gradients: Callable,
  ) -> tuple[TrainState, Metrics]:
    """Updates what the task trains beside `state.params`.

    Args:
      phase: the phase of the training.
      state: the state after the update of `params`.
      grads: the gradients.
      metrics: the metrics of the step so far.
      mean_gradients: `mean_gradients(function)` calls a function (state, batch,
        rngs) -> (gradients, codebook, metrics) on the batch and returns mean
        gradients, mean metrics, and the codebook.

    Returns:
      the state, and all metrics of the step.
    """


def make_step(
  task: Trainable,
  phase: Hashable,
  optimizer: optax.GradientTransformation,
  config: schema.OptimConfig,
  *,
  seed: int,
  schedule: optax.Schedule,
  skip_nonfinite: bool = False,
  dropout_rng: str = 'threefry2x32',
  axis_name: str | None = None,
) -> Step:
  """Returns the pure function (state, batch) -> (state, metrics).

  All random numbers are a function of the seed and of `state.step`. Each
  example has a key of its own, which depends on its position in the global
  batch; the stream 'code' is the same on all replicas, and only the stream
  'dropout' differs between them. Therefore jit over any mesh and pmap compute
  the same step, except for dropout.

  Args:
    task: computes the gradients.
    phase: the phase of the training, see `Task.get_phase`.
    optimizer: updates the parameters.
    config: the config section `optim`.
    seed: determines all random numbers.
    schedule: the learning rate by step, which is added to the metrics.
    skip_nonfinite: whether a step whose result is not finite is not taken; see
      `skipping`.
    dropout_rng: the generator of dropout masks; see `schema.TrainConfig`.
    axis_name: name of the pmap axis; None under jit.
  """

  def step(state: TrainState, batch: Mapping) -> tuple[TrainState, Metrics]:
    batch, rngs = add_keys(state, batch, seed, axis_name)
    rngs['dropout'] = _convert_key(rngs['dropout'], dropout_rng)

    def mean_gradients(function, state):
      found = accumulate(function, state, batch, rngs, config.accumulate)
      grads, codebook, metrics = found
      return *replicas.pmean((grads, metrics), axis_name), codebook

    gradients = functools.partial(task.gradients, phase)
    grads, metrics, codebook = mean_gradients(gradients, state)
    metrics['learning_rate'] = schedule(state.step)
    metrics['grad_norm'] = optax.tree.norm(grads['params'])
    state = apply_gradients(state, grads['params'], optimizer, config)
    state = update_codebook(state, codebook)
    state, metrics = task.after_update(
      phase,
      state,
      grads,
      metrics,
      functools.partial(mean_gradients, state=state),
    )
    return state.replace(step=state.step + 1), metrics

  if not skip_nonfinite and config.skip_above is None:
    return step
  return _with_skips(step, config, skip_nonfinite, axis_name)


def _with_skips(
  step: Step,
  config: schema.OptimConfig,
  skip_nonfinite: bool,
  axis_name: str | None,
) -> Step:
  """Returns a step that may leave the state as it is; see `skipping`."""

  def step_or_skip(state, batch):
    return skipping.keep_or_skip(
      state,
      *step(state, batch),
      skip_nonfinite=skip_nonfinite,
      skip_above=config.skip_above,
      axis_name=axis_name,
    )

  return step_or_skip


def apply_gradients(
  state: TrainState,
  grads: Tree,
  optimizer: optax.GradientTransformation,
  config: schema.OptimConfig,
) -> TrainState:
  """Returns the state with updated parameters and moving averages."""
  updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
  params = optax.apply_updates(state.params, updates)
  ema = state.ema
  if ema is not None:
    decay = optim.ema_decay(config, state.step)
    ema = optax.incremental_update(params, ema, 1 - decay)
  return state.replace(params=params, opt_state=opt_state, ema=ema)


def update_codebook(state: TrainState, codebook: Tree) -> TrainState:
  """Returns the state with a new collection 'codebook'.

  Codes that it replaces are written into the parameters and their averages.
  """
  ema = state.ema
  if ema is not None:
    ema, _ = quantizers.apply_replacements(ema, codebook)
  params, codebook = quantizers.apply_replacements(state.params, codebook)
  return state.replace(params=params, codebook=codebook, ema=ema)


def add_keys(
  state: TrainState, batch: Mapping, seed: int, axis_name: str | None
) -> tuple[dict, dict[str, jax.Array]]:
  """Returns the batch with one key per example, and the rngs of a step."""
  rng = jax.random.fold_in(jax.random.key(seed), state.step)
  size = jax.tree.leaves(dict(batch))[0].shape[0]
  batch = {**batch, 'key': replicas.row_keys(rng, size, axis_name)}
  dropout, code = jax.random.split(jax.random.fold_in(rng, 2**31 - 1))
  if axis_name is not None:
    dropout = jax.random.fold_in(dropout, jax.lax.axis_index(axis_name))
  return batch, {'dropout': dropout, 'code': code}


def _convert_key(key: jax.Array, impl: str) -> jax.Array:
  """Returns a key of a generator that is seeded by another key."""
  if str(jax.random.key_impl(key)) == impl:
    return key
  shape = jax.random.key_data(jax.random.key(0, impl=impl)).shape
  data = jax.random.bits(key, shape, jnp.uint32)
  return jax.random.wrap_key_data(data, impl=impl)


def accumulate(
  gradients: GradientsFn,
  state: TrainState,
  batch: Mapping,
  rngs: Mapping[str, jax.Array],
  parts: int,
) -> tuple[dict[str, Tree], Tree, Metrics]:
  """Averages gradients and metrics over `parts` parts of the batch.

  The codebook is updated with each part in turn.

  Returns:
    the gradients, the codebook after the last part, and the metrics.
  """

  def part(codebook, inputs):
    i, batch = inputs
    rngs_i = {k: jax.random.fold_in(v, i) for k, v in rngs.items()}
    grads, codebook, metrics = gradients(
      state.replace(codebook=codebook), batch, rngs_i
    )
    return codebook, (grads, metrics)

  if parts == 1:
    codebook, (grads, metrics) = part(state.codebook, (0, batch))
    return grads, codebook, metrics

  # [B, ...] -> [parts, B / parts, ...], such that each device splits its own
  # rows.
  def split(x):
    return jnp.swapaxes(x.reshape(-1, parts, *x.shape[1:]), 0, 1)

  inputs = (jnp.arange(parts), jax.tree.map(split, dict(batch)))
  codebook, stacked = jax.lax.scan(part, state.codebook, inputs)
  grads, metrics = jax.tree.map(lambda x: x.mean(axis=0), stacked)
  return grads, codebook, metrics
