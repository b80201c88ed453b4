"""AdamW from the section `optim` of a card."""

import jax
import optax

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
  return optax.chain(*steps)


def ema_decay(settings: settings_lib.Optim, step: jax.Array) -> jax.Array:
  """Returns the decay of the averaged parameters at a step, ramped up."""
  return jax.numpy.minimum(settings.ema_decay, (1 + step) / (10 + step))
