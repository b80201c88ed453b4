"""Classifier-free guidance (Ho and Salimans, https://arxiv.org/abs/2207.12598).

The strength of the guidance may depend on the progress of sampling.
"""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Annotated
from typing import Any

import jax
import jax.numpy as jnp

from vq_jax.utils import fields

Scale = Annotated[float, fields.Range(least=-1e6, most=1e6)]
Power = Annotated[float, fields.Range(above=0, most=1e4)]


def constant(progress: jax.Array) -> jax.Array:
  """Full strength at every step."""
  return jnp.ones_like(progress)


def linear(progress: jax.Array) -> jax.Array:
  """Strength that grows linearly from 0 to 1 (Muse, arXiv:2301.00704).

  The first tokens are sampled almost without guidance and stay diverse.
  """
  return progress


@dataclasses.dataclass(frozen=True, kw_only=True)
class PowerCosine:
  """Strength (1 - cos(pi r^power)) / 2 at progress r.

  With scale s - 1 this is the power-cosine guidance of scale s in TiTok
  (https://arxiv.org/abs/2406.07550) and RAR (https://arxiv.org/abs/2411.00776);
  with scale s it is that of MaskBit (https://arxiv.org/abs/2409.16211).

  Attributes:
    power: a larger power makes guidance set in later.

  Example:
    >>> from vq_jax.samplers import guidance
    >>> float(guidance.PowerCosine(power=2.0)(1.0))
    1.0
  """

  power: Power = 1.0

  def __post_init__(self):
    fields.check(self)

  def __call__(self, progress: jax.Array) -> jax.Array:
    """Returns the strength."""
    return (1 - jnp.cos(jnp.pi * progress**self.power)) / 2


SCHEDULES: dict[str, Callable[..., Any]] = {
  'constant': constant,
  'linear': linear,
  'power_cosine': PowerCosine,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Guidance:
  """Extrapolates from the unconditional to the conditional logits.

  logits = conditional + scale * schedule(r) * (conditional - unconditional)

  Attributes:
    scale: the strength; 0 uses the conditional logits alone, at half the cost.
    schedule: maps the progress r in [0, 1] to a factor of the strength.

  Example:
    >>> import jax.numpy as jnp
    >>> from vq_jax import samplers
    >>> samplers.Guidance(scale=2.0).rows(jnp.array([3, 7]), null_label=10)
    Array([ 3, 10,  7, 10], dtype=int32)
  """

  scale: Scale = 0.0
  schedule: Callable[[jax.Array], jax.Array] = linear

  def __post_init__(self):
    fields.check(self)
    if inspect.isclass(self.schedule):
      name = self.schedule.__name__
      raise ValueError(
        f'schedule must be a function; got the class {name}. Pass an instance: '
        f'{name}(power=1).'
      )

  def rows(
    self, label: jax.Array | None, null_label: int | None
  ) -> jax.Array | None:
    """Returns the labels of the rows that the prior is applied to.

    Args:
      label: int32 [B]; may be None if the scale is 0.
      null_label: the label that means "no class"; not used if the scale is 0.

    Returns:
      `label` if the scale is 0; otherwise int32 [2B], each label followed by
      the null label.
    """
    if not self.scale:
      return label
    assert label is not None and null_label is not None
    pairs = jnp.stack([label, jnp.full_like(label, null_label)], axis=1)
    return pairs.reshape(-1)

  def repeat(self, x: jax.Array) -> jax.Array:
    """Returns x [B, ...] for the rows that the prior is applied to.

    Both rows of an image stand side by side, so that they are on the same
    device if a batch is split over several.
    """
    return jnp.repeat(x, 2, axis=0) if self.scale else x

  def logits_fn(
    self, apply: Callable[[jax.Array], jax.Array]
  ) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Returns a guided logits function for parallel decoding.

    Args:
      apply: tokens [R, N] -> logits [R, N, K], with the R labels of `rows`.

    Returns:
      (tokens [B, N], progress []) -> logits [B, N, K].
    """
    if not self.scale:
      return lambda tokens, progress: apply(tokens)

    def guided(tokens, progress):
      return self._combine(apply(self.repeat(tokens)), progress)

    return guided

  def step_fn(
    self, step: Callable[..., tuple[jax.Array, Any]], num_tokens: int
  ) -> Callable[..., tuple[jax.Array, Any]]:
    """Returns a guided step function for autoregressive sampling.

    The progress at a position is position / N.

    Args:
      step: (cache, previous int32 [R], position []) -> (logits [R, K], cache);
        its cache was started with the R labels of `rows`.
      num_tokens: N.

    Returns:
      (cache, previous int32 [B], position []) -> (logits [B, K], cache).
    """
    if not self.scale:
      return step

    def guided(cache, previous, position):
      both, cache = step(cache, self.repeat(previous), position)
      return self._combine(both, position / num_tokens), cache

    return guided

  def _combine(self, both: jax.Array, progress: jax.Array) -> jax.Array:
    """Returns guided logits [B, ...] from those of all rows [2B, ...]."""
    both = both.reshape(-1, 2, *both.shape[1:])
    conditional, unconditional = both[:, 0], both[:, 1]
    strength = self.scale * self.schedule(progress)
    return conditional + strength * (conditional - unconditional)
