"""Sampling a prior as its card says, and checks of what a user asks for."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vq_jax import autoencoders
from vq_jax import build
from vq_jax import samplers


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
  """How a prior is sampled: section `sampling` of its card.

  Attributes:
    steps: decoding steps.
    schedule: of the masked fraction, by name; see `build.SCHEDULES`.
    choice_temperature: randomness in which positions are decided first.
    temperature: of the drawn tokens; 0 takes the most likely ones.
    guidance: strength of classifier-free guidance; 0 is none.
    guidance_schedule: of that strength; see `build.GUIDANCE_SCHEDULES`.
  """

  steps: int = 8
  schedule: str = 'cosine'
  choice_temperature: float = 4.5
  temperature: float = 1.0
  guidance: float = 0.0
  guidance_schedule: str = 'ramp'

  def strategies(self) -> tuple[samplers.MaskGITDecoding, samplers.Guidance]:
    """Returns what the sampler takes."""
    decoding = samplers.MaskGITDecoding(
      steps=self.steps,
      schedule=build.lookup(build.SCHEDULES, self.schedule, 'mask schedule'),
      choice_temperature=self.choice_temperature,
      choice=samplers.TokenChoice(temperature=self.temperature),
    )
    schedule = build.lookup(
      build.GUIDANCE_SCHEDULES, self.guidance_schedule, 'guidance schedule'
    )
    return decoding, samplers.Guidance(scale=self.guidance, schedule=schedule)


@functools.partial(jax.jit, static_argnames=('prior', 'decoding', 'guidance'))
def sample_tokens(
  prior: nn.Module,
  variables: Mapping[str, Any],
  rng: jax.Array,
  tokens: jax.Array,
  label: jax.Array | None,
  *,
  decoding: samplers.MaskGITDecoding,
  guidance: samplers.Guidance,
) -> jax.Array:
  """Fills the masked tokens int32 [B, N] by a prior; see `samplers.decode`."""
  null = prior.vocab.null_label if guidance.scale else None
  apply = functools.partial(prior.apply, variables)
  return samplers.decode(
    rng,
    guidance.logits_fn(apply, label, null),
    tokens,
    decoding,
    mask_id=prior.vocab.mask_id,
  )


def class_labels(
  labels: jax.Array | np.ndarray | int | None, num: int | None, classes: int
) -> tuple[np.ndarray | None, int]:
  """Returns one class per image, int32 [num] or None, and their number.

  Args:
    labels: one class per image, or one for all; by default the classes follow
      one another.
    num: how many images, if `labels` does not say; 16 by default.
    classes: how many there are; 0 for a prior without.

  Raises:
    ValueError: if the labels do not fit.
  """
  if labels is None:
    num = 16 if num is None else num
    labels = np.arange(num) % classes if classes else None
  else:
    labels = np.asarray(labels, np.int32)
    if labels.ndim == 0:
      labels = np.full(1 if num is None else num, labels)
    num = len(labels) if num is None else num
  checked_num(num)
  if labels is None:
    return None, num
  if not classes:
    raise ValueError('this prior knows no classes; leave labels out.')
  if labels.shape != (num,):
    raise ValueError(
      f'labels must be one class per image, [{num}]; got {labels.shape}.'
    )
  if labels.min() < 0 or labels.max() >= classes:
    raise ValueError(
      f'labels must lie in [0, {classes}); got {labels.min()} to '
      f'{labels.max()}.'
    )
  return labels.astype(np.int32), num


def checked_num(num: int) -> int:
  """Returns a number of images; raises ValueError unless it is positive."""
  if num < 1:
    raise ValueError(f'num must be at least 1; got {num}.')
  return num


def checked_indices(
  indices: jax.Array | np.ndarray, grid: autoencoders.CodeGrid
) -> jax.Array:
  """Returns indices as int32 [B, h, w, *index_shape] on the device.

  Raises:
    ValueError: if they are not that, or one of them is no code.
  """
  indices = np.asarray(indices)
  own = grid.index_shape
  fits = indices.ndim == 3 + len(own) and indices.shape[3:] == own
  if not fits or not np.issubdtype(indices.dtype, np.integer):
    wanted = ', '.join(['B', 'h', 'w', *map(str, own)])
    raise ValueError(
      f'indices must be integers [{wanted}]; got '
      f'{indices.dtype} {indices.shape}.'
    )
  size = grid.codebook_size
  if indices.size and not 0 <= indices.min() <= indices.max() < size:
    raise ValueError(
      f'indices must lie in [0, {size}); got values from {indices.min()} to '
      f'{indices.max()}. Tokens that are still masked cannot be decoded.'
    )
  return jnp.asarray(indices, jnp.int32)
