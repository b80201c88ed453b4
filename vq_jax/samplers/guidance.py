"""Classifier-free guidance (Ho and Salimans 2022), strength by progress."""

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
  """The same strength at every step."""
  return jnp.ones_like(progress)


def linear(progress: jax.Array) -> jax.Array:
  """From nothing to full strength (Muse): early tokens stay diverse."""
  return progress


@dataclasses.dataclass(frozen=True, kw_only=True)
class PowerCosine:
  """(1 - cos(pi r^power)) / 2: as `linear`, but flat at both ends.

  With scale s - 1 it is what TiTok and RAR call power-cosine guidance of s;
  with scale s it is MaskBit's.

  Attributes:
    power: the greater, the later guidance sets in.
  """

  power: Power = 1.0

  def __post_init__(self):
    fields.check(self)

  def __call__(self, progress: jax.Array) -> jax.Array:
    """Returns the strength."""
    return (1 - jnp.cos(jnp.pi * progress**self.power)) / 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Guidance:
  """Pushes the logits away from those of no class.

  logits = conditional + scale * schedule(r) * (conditional - unconditional)

  Attributes:
    scale: 0 is the conditional model alone, at half the cost.
    schedule: strength at progress r in [0, 1], from this module.
  """

  scale: Scale = 0.0
  schedule: Callable[[jax.Array], jax.Array] = linear

  def __post_init__(self):
    fields.check(self)
    if inspect.isclass(self.schedule):
      name = self.schedule.__name__
      raise ValueError(
        f'schedule must be a function; got the class {name}. Make one of it: '
        f'{name}(power=1).'
      )

  def rows(
    self, label: jax.Array | None, null_label: int | None
  ) -> jax.Array | None:
    """Returns the labels of the rows that the prior sees.

    Args:
      label: int32 [B]; None, without scale, for a prior without classes.
      null_label: the label that means "no class"; only used with scale.

    Returns:
      label; with scale int32 [2B], first the labels, then as many null labels.
    """
    if not self.scale:
      return label
    return jnp.concatenate([label, jnp.full_like(label, null_label)])

  def logits_fn(
    self, apply: Callable[[jax.Array], jax.Array]
  ) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Returns what MaskGIT's sampler calls: (tokens [B, N], r []) -> logits.

    Args:
      apply: tokens [R, N] -> logits [R, N, K], with the R labels of `rows`.
    """
    if not self.scale:
      return lambda tokens, progress: apply(tokens)

    def guided(tokens, progress):
      both = apply(jnp.concatenate([tokens, tokens]))
      return self._combine(both, progress)

    return guided

  def step_fn(
    self, step: Callable[..., tuple[jax.Array, Any]], num_tokens: int
  ) -> Callable[..., tuple[jax.Array, Any]]:
    """Returns what the autoregressive sampler calls; progress is position / N.

    Args:
      step: (cache, previous int32 [R], position []) -> (logits [R, K], cache),
        its cache made for the R labels of `rows`.
      num_tokens: N.
    """
    if not self.scale:
      return step

    def guided(cache, previous, position):
      both, cache = step(cache, jnp.concatenate([previous, previous]), position)
      return self._combine(both, position / num_tokens), cache

    return guided

  def _combine(self, both: jax.Array, progress: jax.Array) -> jax.Array:
    """Returns guided logits [B, ...] from those of both halves [2B, ...]."""
    conditional, unconditional = jnp.split(both, 2)
    strength = self.scale * self.schedule(progress)
    return conditional + strength * (conditional - unconditional)
