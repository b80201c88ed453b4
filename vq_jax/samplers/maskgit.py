"""Parallel decoding: all tokens at once, the sure ones are kept.

MaskGIT (Chang et al. 2022), section 3.2.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from vq_jax.samplers import choice as choice_lib
from vq_jax.samplers import schedules


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskGITDecoding:
  """Confidence decoding with annealed randomness.

  In each step every masked position draws a token. The confidence of a draw
  is its log-probability plus Gumbel noise times `choice_temperature * (1 - r)`;
  the least confident positions are masked again, as many as the schedule says.

  Attributes:
    steps: T.
    schedule: fraction still masked at r = t / T, from
      `vq_jax.samplers.schedules`.
    choice_temperature: noise in the choice of positions. Little noise takes
      the safe tokens first and costs diversity.
    choice: how a token is drawn. The confidence is that of the plain logits,
      whatever the temperature of the draw.
  """

  steps: int = 8
  schedule: Callable[[jax.Array, int], jax.Array] = schedules.cosine
  choice_temperature: float = 4.5
  choice: choice_lib.TokenChoice = choice_lib.TokenChoice()

  def __post_init__(self):
    if self.steps < 1:
      raise ValueError(f'decoding needs at least one step; got {self.steps}.')


def remask_counts(
  strategy: MaskGITDecoding, step: jax.Array, unknown: jax.Array, total: int
) -> jax.Array:
  """Returns how many tokens are masked again after a step: int32 [B].

  At least one position is decided in each step, and at least one is left for
  the next; after the last step none is masked.

  Args:
    strategy: the strategy.
    step: int32 [], from 0.
    unknown: int32 [B, 2]: positions masked at the start, and now.
    total: N, the tokens of an image.
  """
  ratio = (step + 1) / strategy.steps
  fraction = jnp.clip(strategy.schedule(ratio, total), 1e-6, 1)
  at_start, now = unknown[:, 0], unknown[:, 1]
  count = jnp.floor(at_start * fraction).astype(jnp.int32)
  count = jnp.clip(count, 1, jnp.maximum(now - 1, 0))
  return jnp.where(step + 1 == strategy.steps, 0, count)


def decode(
  rng: jax.Array,
  logits_fn: Callable[[jax.Array, jax.Array], jax.Array],
  tokens: jax.Array,
  strategy: MaskGITDecoding,
  *,
  mask_id: int,
  trace: bool = False,
) -> jax.Array:
  """Fills the masked tokens; the given ones never change.

  Args:
    rng: key.
    logits_fn: (tokens [B, N], progress []) -> logits [B, N, K], with progress
      r = t / T before step t.
    tokens: int32 [B, N], `mask_id` where masked.
    strategy: how.
    mask_id: the token that means masked.
    trace: return the draws of all steps, as they are before masking again.

  Returns:
    int32 [B, N], or [B, T, N] with `trace`; no `mask_id` is left.
  """
  total = tokens.shape[1]
  at_start = jnp.sum(tokens == mask_id, axis=1)

  def step(tokens, inputs):
    t, key = inputs
    draw_key, noise_key = jax.random.split(key)
    masked = tokens == mask_id
    logits = logits_fn(tokens, t / strategy.steps).astype(jnp.float32)
    drawn = strategy.choice(draw_key, logits)
    log_p = jnp.take_along_axis(
      jax.nn.log_softmax(logits), drawn[..., None], axis=-1
    )[..., 0]
    drawn = jnp.where(masked, drawn, tokens)

    heat = strategy.choice_temperature * (1 - (t + 1) / strategy.steps)
    confidence = log_p + heat * jax.random.gumbel(noise_key, log_p.shape)
    confidence = jnp.where(masked, confidence, jnp.inf)
    rank = jnp.argsort(jnp.argsort(confidence, axis=1), axis=1)
    unknown = jnp.stack([at_start, masked.sum(axis=1)], axis=1)
    count = remask_counts(strategy, t, unknown, total)
    again = masked & (rank < count[:, None])
    return jnp.where(again, mask_id, drawn), drawn

  keys = jax.random.split(rng, strategy.steps)
  final, draws = jax.lax.scan(step, tokens, (jnp.arange(strategy.steps), keys))
  return jnp.swapaxes(draws, 0, 1) if trace else final
