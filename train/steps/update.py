"""One step of training, for any loss."""

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from train import optim
from train import settings as settings_lib
from train.state import TrainState
from vq_jax.utils import replicas
from vq_jax.utils import trees

Tree = Any
Metrics = dict[str, jax.Array]

# (params, state, batch, rngs) -> (loss, (codebook, metrics)). `state` gives
# what no gradient trains; `batch['key']` holds one key per example.
LossFn = Callable[..., tuple[jax.Array, tuple[Tree, Metrics]]]
# (state, batch, rngs) -> (gradients, codebook, metrics)
GradientsFn = Callable[..., tuple[Tree, Tree, Metrics]]
Step = Callable[[TrainState, Mapping], tuple[TrainState, Metrics]]


def make_step(
  loss_fn: LossFn,
  optimizer: optax.GradientTransformation,
  settings: settings_lib.Optim,
  *,
  seed: int,
  schedule: optax.Schedule,
  axis_name: str | None = None,
) -> Step:
  """Returns the pure step (state, batch) -> (state, metrics).

  All randomness is a function of the seed and of `state.step`. Keys belong to
  examples, by their place in the global batch, or are the same everywhere
  (stream 'code'); only dropout differs from replica to replica. So jit over any
  mesh and pmap compute the same, dropout apart.

  Args:
    loss_fn: see `LossFn`.
    optimizer: updates the parameters.
    settings: section `optim`.
    seed: of all randomness.
    schedule: the learning rate, for the metrics.
    axis_name: the pmap axis.
  """
  gradients = gradients_of(loss_fn, settings.only)

  def step(state: TrainState, batch: Mapping) -> tuple[TrainState, Metrics]:
    batch, rngs = with_randomness(state, batch, seed, axis_name)
    grads, codebook, metrics = accumulated(
      gradients, state, batch, rngs, settings.accumulate
    )
    grads, metrics = replicas.pmean((grads, metrics), axis_name)
    metrics['learning_rate'] = schedule(state.step)
    metrics['grad_norm'] = optax.tree.norm(grads)
    state = updated(state, grads, codebook, optimizer, settings)
    return state.replace(step=state.step + 1), metrics

  return step


def gradients_of(loss_fn: LossFn, only: tuple[str, ...] = ()) -> GradientsFn:
  """Returns what differentiates a loss by the parameters; see `Optim.only`."""

  def held_loss(params, *inputs):
    return loss_fn(optim.held(params, only), *inputs)

  grad_fn = jax.value_and_grad(held_loss, has_aux=True)

  def gradients(state, batch, rngs):
    (loss, (codebook, metrics)), grads = grad_fn(
      state.params, state, batch, rngs
    )
    return grads, codebook, {'loss': loss, **metrics}

  return gradients


def updated(
  state: TrainState,
  grads: Tree,
  codebook: Tree,
  optimizer: optax.GradientTransformation,
  settings: settings_lib.Optim,
) -> TrainState:
  """Returns the state with new parameters, averages and codebook."""
  updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
  params = optax.apply_updates(state.params, updates)
  ema = state.ema
  if ema is not None:
    ema = trees.ema(ema, params, optim.ema_decay(settings, state.step))
  return state.replace(
    params=params, codebook=codebook, opt_state=opt_state, ema=ema
  )


def with_randomness(
  state: TrainState, batch: Mapping, seed: int, axis_name: str | None
) -> tuple[dict, dict[str, jax.Array]]:
  """Returns the batch with a key per example, and the streams of a step."""
  key = jax.random.fold_in(jax.random.key(seed), state.step)
  batch = {**batch, 'key': example_keys(key, batch, axis_name)}
  return batch, step_rngs(key, axis_name)


def example_keys(
  key: jax.Array, batch: Mapping, axis_name: str | None
) -> jax.Array:
  """Returns one key per example of this replica's part of the batch."""
  size = jax.tree.leaves(dict(batch))[0].shape[0]
  places = jnp.arange(size)
  if axis_name is not None:
    places += size * jax.lax.axis_index(axis_name)
  keys = jax.vmap(lambda i: jax.random.fold_in(key, i))
  return keys(places)


def step_rngs(key: jax.Array, axis_name: str | None) -> dict[str, jax.Array]:
  """Returns the streams: 'code' is shared, 'dropout' each replica's own."""
  dropout, code = jax.random.split(jax.random.fold_in(key, 2**31 - 1))
  if axis_name is not None:
    dropout = jax.random.fold_in(dropout, jax.lax.axis_index(axis_name))
  return {'dropout': dropout, 'code': code}


def accumulated(
  gradients: GradientsFn,
  state: TrainState,
  batch: Mapping,
  rngs: Mapping[str, jax.Array],
  parts: int,
) -> tuple[Tree, Tree, Metrics]:
  """Averages gradients and metrics over `parts` parts of the batch.

  A codebook of moving averages moves with each part.

  Returns:
    gradients, the new codebook, metrics.
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

  def split(x):  # [B, ...] -> [parts, B / parts, ...]; devices keep their rows
    return jnp.swapaxes(x.reshape(-1, parts, *x.shape[1:]), 0, 1)

  inputs = (jnp.arange(parts), jax.tree.map(split, dict(batch)))
  codebook, stacked = jax.lax.scan(part, state.codebook, inputs)
  grads, metrics = jax.tree.map(lambda x: x.mean(axis=0), stacked)
  return grads, codebook, metrics
