"""A metric that is a mean over parts of the data, and its error."""

import dataclasses
import math

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
  """The mean of a metric over parts of the data.

  Attributes:
    value: the mean.
    deviation: the standard deviation over the parts (with the divisor `parts`);
      None if there is one part.
    parts: number of parts.

  Example:
    >>> from vq_jax.metrics import estimates
    >>> estimates.Estimate(value=2.0, deviation=1.0, parts=4).standard_error
    0.5
  """

  value: float
  deviation: float | None
  parts: int

  @property
  def standard_error(self) -> float | None:
    """The deviation divided by the square root of the number of parts."""
    if self.deviation is None:
      return None
    return self.deviation / math.sqrt(self.parts)


def of_parts(values: np.ndarray) -> Estimate:
  """Returns the mean and the deviation of the values of the parts, [parts]."""
  values = np.asarray(values, np.float64)
  return Estimate(
    value=float(values.mean()),
    deviation=float(values.std()) if len(values) > 1 else None,
    parts=len(values),
  )
