"""How long a run trains, and how often it logs, evaluates and saves."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from train import config as config_lib
from train import settings as settings_lib


@dataclasses.dataclass(frozen=True, kw_only=True)
class Intervals:
  """The durations of the config section `train`, in steps.

  Attributes:
    total: steps of the whole training.
    log_every: steps between two lines of metrics.
    eval_every: steps between two evaluations.
    save_every: steps between two checkpoints.
    steps_per_epoch: steps in which every training example is seen once.
  """

  total: int
  log_every: int
  eval_every: int
  save_every: int
  steps_per_epoch: float

  @classmethod
  def create(
    cls, config: settings_lib.Train, *, steps_per_epoch: float
  ) -> 'Intervals':
    """Converts the durations of a config to steps.

    Raises:
      ConfigError: if a duration is 0.
    """
    names = ('duration', 'log_every', 'eval_every', 'save_every')
    found, total = {}, None
    for name in names:
      duration = getattr(config, name)
      steps = _to_steps(f'train.{name}', duration, steps_per_epoch, total)
      if not any(duration.values()):
        raise settings_lib.ConfigError(
          f"train.{name} must be longer than 0. Use {{'percent': 100}} for "
          'once, at the end of the training.'
        )
      found[name] = max(steps, 1)
      total = found['duration']
    del found['duration']
    return cls(total=total, steps_per_epoch=steps_per_epoch, **found)

  def to_steps(self, name: str, duration: Mapping[str, Any]) -> int:
    """Returns a duration of the config, such as {'percent': 10}, in steps.

    Args:
      name: its key, for errors.
      duration: the mapping.
    """
    return _to_steps(name, duration, self.steps_per_epoch, self.total)

  def is_due(self, every: int, step: int) -> bool:
    """Returns whether an action is due after `step`, or the training ends."""
    return step % every == 0 or step == self.total


def _to_steps(
  name: str,
  duration: Mapping[str, Any],
  steps_per_epoch: float,
  total: int | None,
) -> int:
  found = config_lib.section(settings_lib.Duration, name, duration)
  return found.resolve(steps_per_epoch=steps_per_epoch, total=total)
