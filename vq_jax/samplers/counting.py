"""The number of tokens that are masked after each step of parallel decoding.

The counts are computed on the host in float64, so that cos(pi / 3) of 64 tokens
is exactly 32, and are looked up on the device.
"""

from collections.abc import Callable
from typing import Any
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from vq_jax.samplers import schedules

Rounding = Literal['masked', 'decided', 'float32']
RemaskLimit = Literal['cap', 'rescale']
RemaskOrder = Literal['random', 'confidence']


def masked_counts(
  schedule: Callable[..., schedules.Array],
  steps: int,
  total: int,
  rounding: Rounding = 'masked',
) -> np.ndarray:
  """Computes how many tokens are masked after each step.

  At least one position is decided in each step, and at least one is left for
  the next step; after the last step no token is masked.

  Args:
    schedule: (ratio, number of tokens) -> fraction that stays masked, such as
      the functions of `vq_jax.samplers.schedules`.
    steps: T.
    total: N, the number of tokens of an image.
    rounding: see `MaskGITSampler`.

  Returns:
    int32 [T, N + 1]; element [t, n] is the count after step t for an image of
    which n tokens are masked at the start.

  Raises:
    ValueError: if the schedule gives NaN.
  """
  start: Any = np.arange(total + 1)
  dtype = np.float32 if rounding == 'float32' else np.float64
  counts, now = [], start
  for step in range(1, steps):
    ratio = dtype(step) / dtype(steps)
    fraction = np.asarray(np.clip(schedule(ratio, start), 0, 1), dtype)
    if np.isnan(fraction).any():
      raise ValueError(
        'a schedule must give the fraction that stays masked; got NaN at '
        f'{step} of {steps} steps.'
      )
    if rounding == 'float32':
      count = np.floor(start.astype(dtype) * fraction)
    elif rounding == 'decided':
      count = start - _floor(start * (1 - fraction))
    else:
      count = _floor(start * fraction)
    now = np.clip(count, 1, np.maximum(now - 1, 0))
    counts.append(now)
  return np.stack([*counts, 0 * start]).astype(np.int32)


def remasked_counts(
  remask: float,
  limit: RemaskLimit,
  decided: jax.Array,
  masked: jax.Array,
  total: int,
) -> jax.Array:
  """Computes how many decided tokens are masked again (ReMDM).

  Args:
    remask: the fraction eta; see `MaskGITSampler`.
    limit: 'cap' or 'rescale'; see `MaskGITSampler`.
    decided: int32 [B], the number of tokens decided before the step, without
      the given ones.
    masked: int32 [B], the number of tokens that are masked after the step.
    total: N, the number of tokens of an image.

  Returns:
    int32 [B].
  """
  table = _floor(remask * np.arange(total + 1))
  most = jnp.minimum(decided, masked)  # the largest sigma, times decided
  if limit == 'rescale':
    return take(table, most)
  return jnp.minimum(take(table, decided), most)


def take(table: jax.Array | np.ndarray, numbers: jax.Array) -> jax.Array:
  """Returns table[..., numbers], of a table int32 [..., M] and numbers [B].

  It is written as a sum: on a mesh with explicit axes, a gather would need the
  sharding of its result.
  """
  chosen = numbers[:, None] == jnp.arange(table.shape[-1])[None]
  rows = jnp.expand_dims(jnp.asarray(table), -2)
  return jnp.sum(jnp.where(chosen, rows, 0), axis=-1)


def _floor(numbers: np.ndarray) -> np.ndarray:
  """Rounds down, with a tolerance for rounding errors below whole numbers."""
  return np.floor(numbers + 1e-9).astype(np.int32)
