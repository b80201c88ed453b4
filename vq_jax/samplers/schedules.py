"""Mask schedules: the fraction of masked tokens, which falls from 1 to 0.

The function gamma of MaskGIT (https://arxiv.org/abs/2202.04200, section 3.3).
Each schedule maps a ratio in [0, 1] (steps done / steps; in training a uniform
sample) and the number of tokens to be decided to the fraction that is masked.
Schedules are plain functions, so they are hashable and static under jit. They
compute with NumPy for NumPy arrays, so that a sampler can count tokens in
float64, and with JAX for JAX arrays.
"""

import types
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from vq_jax.utils import names

Array = jax.Array | np.ndarray


def _numpy(ratio: Array | float) -> types.ModuleType:
  """Returns jax.numpy for JAX arrays, and numpy otherwise."""
  return jnp if isinstance(ratio, jax.Array) else np


def cosine(ratio: Array, num_tokens: Array | int) -> Array:
  """cos(pi r / 2), the best schedule in MaskGIT's ablation."""
  del num_tokens
  return _numpy(ratio).cos(ratio * (np.pi / 2))


def linear(ratio: Array, num_tokens: Array | int) -> Array:
  """1 - r."""
  del num_tokens
  return 1 - ratio


def square(ratio: Array, num_tokens: Array | int) -> Array:
  """1 - r^2."""
  del num_tokens
  return 1 - ratio**2


def cubic(ratio: Array, num_tokens: Array | int) -> Array:
  """1 - r^3."""
  del num_tokens
  return 1 - ratio**3


def sqrt(ratio: Array, num_tokens: Array | int) -> Array:
  """1 minus the square root of r."""
  del num_tokens
  return 1 - _numpy(ratio).sqrt(ratio)


def arccos(ratio: Array, num_tokens: Array | int) -> Array:
  """The arc cosine of r over pi / 2, the schedule of Muse and TiTok."""
  del num_tokens
  xp = _numpy(ratio)
  return xp.arccos(xp.clip(ratio, 0, 1)) * (2 / np.pi)


def log(ratio: Array, num_tokens: Array | int) -> Array:
  """-log2(r) / log2(N), clipped to [0, 1]."""
  n = np.maximum(num_tokens, 2).astype(np.float64)
  xp = _numpy(ratio)
  return -xp.log(xp.clip(ratio, 1 / n, 1)) / np.log(n)


def exp(ratio: Array, num_tokens: Array | int) -> Array:
  """1 - 2^(-log2(N) (1 - r)) = 1 - N^(r - 1); it starts at 1 - 1/N."""
  n = np.maximum(num_tokens, 1).astype(np.float64)
  return 1 - n ** (ratio - 1)


SCHEDULES = {
  'arccos': arccos,
  'cosine': cosine,
  'cubic': cubic,
  'exp': exp,
  'linear': linear,
  'log': log,
  'sqrt': sqrt,
  'square': square,
}


def by_name(name: str) -> Callable[..., Array]:
  """Returns the mask schedule of a name.

  Raises:
    ValueError: if there is no such schedule; the message lists all names.
  """
  return names.lookup(SCHEDULES, name, 'mask schedule')
