"""How many tokens are masked after each step: whole numbers from a schedule.

The counts are computed on the host in float64, so that a fraction such as
cos(pi / 3) of 64 tokens is the 32 that it is, and looked up on the device.
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from vq_jax.samplers import schedules

Rounding = Literal['masked', 'decided', 'float32']


def masked_counts(
  schedule: Callable[..., schedules.Array],
  steps: int,
  total: int,
  rounding: Rounding = 'masked',
) -> np.ndarray:
  """Returns how many tokens are masked after each step: int32 [T, N + 1].

  Element [t, n] is for an image of which n tokens are masked at the start. At
  least one position is decided in each step, and at least one is left for the
  next; after the last step none is masked.

  Args:
    schedule: from `vq_jax.samplers.schedules`.
    steps: T.
    total: N, the tokens of an image.
    rounding: see `MaskGITDecoding`.

  Raises:
    ValueError: if the schedule gives NaN.
  """
  start = np.arange(total + 1)
  kind = np.float32 if rounding == 'float32' else np.float64
  counts, now = [], start
  for step in range(1, steps):
    ratio = kind(step) / kind(steps)
    fraction = np.clip(schedule(ratio, start), 0, 1).astype(kind)
    if np.isnan(fraction).any():
      raise ValueError(
        'a schedule must give the fraction that stays masked; got NaN at '
        f'{step} of {steps} steps.'
      )
    if rounding == 'float32':
      count = np.floor(start.astype(kind) * fraction)
    elif rounding == 'decided':
      count = start - _floor(start * (1 - fraction))
    else:
      count = _floor(start * fraction)
    now = np.clip(count, 1, np.maximum(now - 1, 0))
    counts.append(now)
  return np.stack([*counts, 0 * start]).astype(np.int32)


def shares(fraction: float, total: int) -> np.ndarray:
  """Returns floor(fraction * n) of n = 0, ..., total: int32 [total + 1]."""
  return _floor(fraction * np.arange(total + 1))


def take(table: jax.Array | np.ndarray, numbers: jax.Array) -> jax.Array:
  """Returns table[..., numbers] of int32 [..., M] and [B].

  A gather would have to be told how its result is spread over devices where a
  mesh has explicit axes; a sum need not.
  """
  chosen = numbers[:, None] == jnp.arange(table.shape[-1])[None]
  rows = jnp.expand_dims(jnp.asarray(table), -2)
  return jnp.sum(jnp.where(chosen, rows, 0), axis=-1)


def _floor(numbers: np.ndarray) -> np.ndarray:
  """Rounds down; a number that a rounding error put below is whole."""
  return np.floor(numbers + 1e-9).astype(np.int32)
