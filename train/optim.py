"""AdamW from the section `optim` of a card."""

import jax
import optax

from train import intervals
from train import settings as settings_lib
from vq_jax.utils import trees

_SCHEDULES = ('constant', 'cosine', 'linear')


def learning_rate(
  settings: settings_lib.Optim, *, steps_per_epoch: float, total: int
) -> optax.Schedule:
  """Returns the learning rate by step: a linear warm-up, then the schedule.

  Raises:
    ConfigError: if the schedule is unknown.
  """
  peak = settings.learning_rate
  end = peak * settings.final_scale
  warmup = settings_lib.Duration(**settings.warmup).resolve(
    steps_per_epoch=steps_per_epoch, total=total
  )
  rest = max(total - warmup, 1)
  if settings.schedule == 'constant':
    after = optax.constant_schedule(peak)
  elif settings.schedule == 'cosine':
    after = optax.cosine_decay_schedule(peak, rest, settings.final_scale)
  elif settings.schedule == 'linear':
    after = optax.linear_schedule(peak, end, rest)
  else:
    raise settings_lib.ConfigError(
      f'unknown config.optim.schedule {settings.schedule!r}. Valid: '
      f'{", ".join(_SCHEDULES)}.'
    )
  ramp = optax.linear_schedule(0.0, peak, max(warmup, 1))
  return optax.join_schedules([ramp, after], [warmup])


def describe_extension(
  settings: settings_lib.Optim,
  plan: intervals.Intervals,
  before: int,
  done: int,
) -> str:
  """Says what a longer training means for the learning rate.

  Args:
    settings: section `optim`.
    plan: of the longer training.
    before: steps of the training as it was planned.
    done: steps that are done.
  """
  old, new = (
    float(
      learning_rate(
        settings, steps_per_epoch=plan.steps_per_epoch, total=total
      )(done)
    )
    for total in (before, plan.total)
  )
  return (
    f'trains for {plan.total} steps instead of {before}; the learning rate '
    f'({settings.schedule}) and all durations in percent now span '
    f'{plan.total} steps: at step {done} it is {new:.3g}, where it was '
    f'{old:.3g}'
  )


def optimizer_of(
  settings: settings_lib.Optim, *, steps_per_epoch: float, total: int
) -> tuple[optax.GradientTransformation, optax.Schedule]:
  """Returns the optimizer and its learning rate."""
  schedule = learning_rate(
    settings, steps_per_epoch=steps_per_epoch, total=total
  )
  return adamw(settings, schedule), schedule


def decay_mask(params, names: tuple[str, ...]):
  """Returns a tree of bools: does the leaf's name say that it decays?"""
  flat = trees.flatten(params)
  return trees.unflatten({k: k.split('/')[-1] in names for k in flat})


def adamw(
  settings: settings_lib.Optim, schedule: optax.Schedule
) -> optax.GradientTransformation:
  """Returns clipping and AdamW with decay on the named parameters only."""
  steps = []
  if settings.clip_norm is not None:
    steps.append(optax.clip_by_global_norm(settings.clip_norm))
  steps.append(
    optax.adamw(
      schedule,
      b1=settings.b1,
      b2=settings.b2,
      eps=settings.eps,
      weight_decay=settings.weight_decay,
      mask=lambda params: decay_mask(params, settings.decay_names),
    )
  )
  if not settings.only:
    return optax.chain(*steps)
  return optax.partition(
    {True: optax.chain(*steps), False: optax.set_to_zero()},
    lambda params: _is_trained(params, settings.only),
  )


def _is_trained(params: dict, only: tuple[str, ...]) -> dict:
  """Returns a tree of bools: does the leaf's part of the model learn?

  Raises:
    ConfigError: if there is no such part.
  """
  for name in only:
    if name not in params:
      raise settings_lib.ConfigError(
        f'unknown part {name!r} in config.optim.only. Valid: '
        f'{", ".join(sorted(params))}.'
      )
  return {
    name: jax.tree.map(lambda _, name=name: name in only, part)
    for name, part in params.items()
  }


def held(params: dict, only: tuple[str, ...]) -> dict:
  """Returns the parameters; no gradient reaches those that do not learn."""
  return {
    name: part if not only or name in only else jax.lax.stop_gradient(part)
    for name, part in params.items()
  }


def ema_decay(settings: settings_lib.Optim, step: jax.Array) -> jax.Array:
  """Returns the decay of the averaged parameters at a step, ramped up."""
  return jax.numpy.minimum(settings.ema_decay, (1 + step) / (10 + step))
