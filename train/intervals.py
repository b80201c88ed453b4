"""How long a run trains, and how often it logs, evaluates and saves."""

import dataclasses

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
    keep: how many checkpoints are kept.
    pictures: number of images in an image grid.
    steps_per_epoch: steps in which every training example is seen once.
  """

  total: int
  log_every: int
  eval_every: int
  save_every: int
  keep: int
  pictures: int
  steps_per_epoch: float

  @classmethod
  def create(
    cls, config: settings_lib.Train, *, steps_per_epoch: float
  ) -> 'Intervals':
    """Converts the durations of a config to steps.

    Raises:
      ConfigError: if a duration is missing or 0.
    """

    def steps(name: str, total: int | None) -> int:
      duration = config_lib.section(
        settings_lib.Duration, f'train.{name}', getattr(config, name)
      )
      if not any(dataclasses.astuple(duration)):
        raise settings_lib.ConfigError(
          f"train.{name} must be longer than 0. Use {{'percent': 100}} for "
          'once, at the end of the training.'
        )
      found = duration.resolve(steps_per_epoch=steps_per_epoch, total=total)
      return max(found, 1)

    total = steps('duration', None)
    return cls(
      total=total,
      log_every=steps('log_every', total),
      eval_every=steps('eval_every', total),
      save_every=steps('save_every', total),
      keep=config.keep,
      pictures=config.pictures,
      steps_per_epoch=steps_per_epoch,
    )

  def is_due(self, every: int, step: int) -> bool:
    """Returns whether an action is due after `step`, or the training ends."""
    return step % every == 0 or step == self.total
