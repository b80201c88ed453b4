"""How long a run trains, and how often it logs, evaluates and saves."""

import dataclasses

from vq_jax.config import schema


@dataclasses.dataclass(frozen=True, kw_only=True)
class Intervals:
  """The durations of the config section `train`, in steps.

  Attributes:
    total: steps of the whole training.
    log_every: steps between two lines of metrics.
    eval_every: steps between two evaluations.
    save_every: steps between two checkpoints.
    steps_per_epoch: steps in which every training example is seen once.

  Example:
    >>> config = schema.TrainConfig(total_epochs=2)
    >>> intervals = Intervals.create(config, steps_per_epoch=50)
    >>> intervals.total, intervals.eval_every
    (100, 25)
    >>> intervals.is_due(intervals.eval_every, step=75)
    True
  """

  total: int
  log_every: int
  eval_every: int
  save_every: int
  steps_per_epoch: float

  @classmethod
  def create(
    cls, config: schema.TrainConfig, *, steps_per_epoch: float
  ) -> 'Intervals':
    """Converts the durations of a config to steps."""
    total = config.get_total_steps(steps_per_epoch)
    every = {
      name: getattr(config, name).to_steps(
        steps_per_epoch=steps_per_epoch, total=total
      )
      for name in ('log_every', 'eval_every', 'save_every')
    }
    return cls(
      total=total,
      steps_per_epoch=steps_per_epoch,
      **{name: max(steps, 1) for name, steps in every.items()},
    )

  def to_steps(self, duration: schema.Duration) -> int:
    """Returns a duration in steps.

    Args:
      duration: of the config, such as the warm-up of the learning rate.
    """
    return duration.to_steps(
      steps_per_epoch=self.steps_per_epoch, total=self.total
    )

  def is_due(self, every: int, step: int) -> bool:
    """Returns whether an action is due after `step`, or the training ends."""
    return step % every == 0 or step == self.total
