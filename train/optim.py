"""AdamW, its learning rate and the parameters that it updates."""

import jax
import jax.numpy as jnp
import optax

from train.intervals import Intervals
from vq_jax.config import schema
from vq_jax.utils import trees


def make_schedule(
  config: schema.OptimConfig, intervals: Intervals
) -> optax.Schedule:
  """Returns the learning rate by step: a linear warm-up, then the schedule.

  Args:
    config: the config section `optim`.
    intervals: the length of the training.

  Example:
    >>> train = schema.TrainConfig(total_steps=100)
    >>> schedule = make_schedule(
    ...   schema.OptimConfig(
    ...     learning_rate=1.0,
    ...     schedule='linear',
    ...     warmup=schema.Duration(percent=10),
    ...   ),
    ...   Intervals.create(train, steps_per_epoch=10),
    ... )
    >>> [round(float(schedule(step)), 2) for step in (0, 5, 10, 55, 100)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
  """
  peak, end = config.learning_rate, config.learning_rate * config.final_scale
  warmup = intervals.to_steps(config.warmup)
  total = max(intervals.total, warmup + 1)
  if config.schedule == 'constant':
    return optax.warmup_constant_schedule(0.0, peak, warmup)
  if config.schedule == 'cosine':
    return optax.warmup_cosine_decay_schedule(0.0, peak, warmup, total, end)
  return optax.join_schedules(
    [
      optax.linear_schedule(0.0, peak, warmup),
      optax.linear_schedule(peak, end, total - warmup),
    ],
    [warmup],
  )


def make_optimizer(
  config: schema.OptimConfig, schedule: optax.Schedule
) -> optax.GradientTransformation:
  """Returns AdamW after clipping, for the parameters that are trained.

  Args:
    config: the config section `optim`.
    schedule: the learning rate by step.
  """
  adamw = optax.adamw(
    schedule,
    b1=config.b1,
    b2=config.b2,
    eps=config.eps,
    weight_decay=config.weight_decay,
    mask=lambda params: get_decay_mask(params, config.decay_names),
  )
  if config.clip_norm is not None:
    adamw = optax.chain(optax.clip_by_global_norm(config.clip_norm), adamw)
  if not config.only:
    return adamw
  return optax.partition(
    {True: adamw, False: optax.set_to_zero()},
    lambda params: _is_trained(params, config.only),
  )


def get_decay_mask(params: dict, names: tuple[str, ...]) -> dict:
  """Returns a tree of bools: whether weight decay applies to a parameter."""
  flat = trees.flatten(params)
  return trees.unflatten({k: k.split('/')[-1] in names for k in flat})


def _is_trained(params: dict, only: tuple[str, ...]) -> dict:
  """Returns a tree of bools: whether a parameter is in a trained part.

  Raises:
    ConfigError: if the model has no such part.
  """
  for name in only:
    if name not in params:
      raise schema.ConfigError(
        f'config.optim.only has the unknown part {name!r}. Valid: '
        f'{", ".join(sorted(params))}.'
      )
  return {
    name: jax.tree.map(lambda _, name=name: name in only, part)
    for name, part in params.items()
  }


def freeze_except(params: dict, only: tuple[str, ...]) -> dict:
  """Stops the gradients of all parts but those in `only`; () stops none."""
  return {
    name: part if not only or name in only else jax.lax.stop_gradient(part)
    for name, part in params.items()
  }


def ema_decay(config: schema.OptimConfig, step: jax.Array) -> jax.Array:
  """Returns min(decay, (1 + t) / (10 + t)), the decay of averaged parameters.

  Args:
    config: the config section `optim`.
    step: t, int32 [].
  """
  return jnp.minimum(config.ema_decay, (1 + step) / (10 + step))


def describe_extension(
  config: schema.OptimConfig, before: Intervals, now: Intervals, done: int
) -> str:
  """Returns a message about the learning rate of a training made longer.

  Args:
    config: the config section `optim`.
    before: the length of the training so far.
    now: the new length.
    done: number of steps that are done.
  """
  old, new = (float(make_schedule(config, i)(done)) for i in (before, now))
  return (
    f'the training now takes {now.total} steps instead of {before.total}. The '
    f'learning rate ({config.schedule}) and all durations in percent span '
    f'{now.total} steps: at step {done} the learning rate is {new:.3g} '
    f'instead of {old:.3g}.'
  )
