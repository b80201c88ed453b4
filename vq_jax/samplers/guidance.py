"""Classifier-free guidance (Ho and Salimans 2022), strength by progress."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp


def constant(progress: jax.Array) -> jax.Array:
  """The same strength at every step."""
  return jnp.ones_like(progress)


def ramp(progress: jax.Array) -> jax.Array:
  """From nothing to full strength (Muse): early tokens stay diverse."""
  return progress


def cosine_ramp(progress: jax.Array) -> jax.Array:
  """(1 - cos(pi r)) / 2: as `ramp`, but flat at both ends."""
  return (1 - jnp.cos(jnp.pi * progress)) / 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Guidance:
  """Pushes the logits away from those of no class.

  logits = conditional + scale * schedule(r) * (conditional - unconditional)

  Attributes:
    scale: 0 is the conditional model alone, at half the cost.
    schedule: strength at progress r in [0, 1], from this module.
  """

  scale: float = 0.0
  schedule: Callable[[jax.Array], jax.Array] = ramp

  def logits_fn(
    self,
    apply: Callable[..., jax.Array],
    label: jax.Array | None,
    null_label: int | None,
  ) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Returns what a sampler calls: (tokens [B, N], r []) -> logits.

    Args:
      apply: (tokens, label=...) -> logits [B, N, K].
      label: int32 [B] or None.
      null_label: the label that means "no class"; only used with scale.
    """
    if not self.scale:
      return lambda tokens, progress: apply(tokens, label=label)

    def guided(tokens, progress):
      both = apply(
        jnp.concatenate([tokens, tokens]),
        label=jnp.concatenate([label, jnp.full_like(label, null_label)]),
      )
      conditional, unconditional = jnp.split(both, 2)
      strength = self.scale * self.schedule(progress)
      return conditional + strength * (conditional - unconditional)

    return guided
