"""Parallel decoding: all tokens at once, the best are kept.

MaskGIT (Chang et al. 2022), section 3.2, and what came after: other orders, and
decided tokens that are masked again.
"""

import dataclasses
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

from vq_jax.samplers import choice as choice_lib
from vq_jax.samplers import keys as key_lib
from vq_jax.samplers import orders
from vq_jax.samplers import schedules


@dataclasses.dataclass(frozen=True, kw_only=True)
class Remasking:
  """Masks decided tokens again, to be drawn anew (ReMDM, Wang et al. 2025).

  Let alpha be the fraction decided before a step, and alpha' after it. Then a
  decided token is masked again with probability sigma, at most
  min(1, (1 - alpha') / alpha). Here it is the number that is fixed: sigma of
  the decided tokens, rounded down, and as many more of the masked ones are
  decided, so that the schedule holds.

  Attributes:
    eta: how much, in [0, 1].
    limit: 'cap', sigma is eta or, if that is less, its maximum; or 'rescale',
      sigma is eta times its maximum.
    order: the lowest by it go. `Random()` takes any, as the paper's cap and
      rescale do; `Confidence(temperature=0)` those that were least likely when
      drawn, to which its conf tends.
  """

  eta: float
  limit: Literal['cap', 'rescale'] = 'cap'
  order: orders.Order = orders.Random()

  def __post_init__(self):
    if not 0 <= self.eta <= 1:
      raise ValueError(f'eta must lie in [0, 1]; got {self.eta}.')
    if self.limit not in ('cap', 'rescale'):
      raise ValueError(f"limit must be 'cap' or 'rescale'; got {self.limit!r}.")

  def counts(self, decided: jax.Array, masked: jax.Array) -> jax.Array:
    """Returns how many go: int32 [B].

    Args:
      decided: int32 [B], tokens decided before the step, without given ones.
      masked: int32 [B], tokens masked after it.
    """
    most = jnp.minimum(decided, masked)  # sigma's maximum, times the decided
    if self.limit == 'rescale':
      return jnp.floor(self.eta * most).astype(jnp.int32)
    return jnp.minimum(jnp.floor(self.eta * decided).astype(jnp.int32), most)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskGITDecoding:
  """Parallel decoding.

  In each step every masked position draws a token, and those that come last in
  the order are masked again, as many as the schedule says.

  Attributes:
    steps: T.
    schedule: fraction still masked at r = t / T, from
      `vq_jax.samplers.schedules`.
    order: which positions are kept, from `vq_jax.samplers.orders`.
    choice: how a token is drawn.
    sharpen: the logits are multiplied by a factor that grows linearly from 1 at
      the first step to this at the last (Halton-MaskGIT: 1.2). The order sees
      the plain logits, whatever this and the temperature of the choice are.
    remask: how decided tokens are masked again; None if they never are.
  """

  steps: int = 8
  schedule: Callable[[jax.Array, int], jax.Array] = schedules.cosine
  order: orders.Order = orders.Confidence()
  choice: choice_lib.TokenChoice = choice_lib.TokenChoice()
  sharpen: float = 1.0
  remask: Remasking | None = None

  def __post_init__(self):
    if self.steps < 1:
      raise ValueError(f'decoding needs at least one step; got {self.steps}.')
    if self.sharpen <= 0:
      raise ValueError(
        f'sharpen multiplies the logits, so it must be positive; got '
        f'{self.sharpen}.'
      )
    if self.remask is not None and self.order.revises:
      raise ValueError(
        f'with {self.order} all tokens compete in each step already; leave '
        'remask None.'
      )


def masked_counts(
  strategy: MaskGITDecoding,
  step: jax.Array | int,
  at_start: jax.Array,
  now: jax.Array,
  total: int,
) -> jax.Array:
  """Returns how many tokens are masked after a step: int32 [B].

  At least one position is decided in each step, and at least one is left for
  the next; after the last step none is masked.

  Args:
    strategy: the strategy.
    step: int32 [], from 0.
    at_start: int32 [B], tokens masked at the start.
    now: int32 [B], tokens masked before the step.
    total: N, the tokens of an image.
  """
  ratio = (step + 1) / strategy.steps
  fraction = jnp.clip(strategy.schedule(ratio, total), 1e-6, 1)
  count = jnp.floor(at_start * fraction).astype(jnp.int32)
  count = jnp.clip(count, 1, jnp.maximum(now - 1, 0))
  return jnp.where(step + 1 == strategy.steps, 0, count)


def decode(
  keys: jax.Array,
  logits_fn: Callable[[jax.Array, jax.Array], jax.Array],
  tokens: jax.Array,
  strategy: MaskGITDecoding,
  *,
  mask_id: int,
  grid: tuple[int, int] | None = None,
  critic_fn: Callable[[jax.Array, jax.Array], jax.Array] | None = None,
  trace: bool = False,
) -> jax.Array:
  """Fills the masked tokens; the given ones never change.

  Args:
    keys: [B], one per example; see `example_keys`.
    logits_fn: (tokens [B, N], progress []) -> logits [B, N, K], with progress
      r = t / T before step t.
    tokens: int32 [B, N], `mask_id` where masked.
    strategy: how.
    mask_id: the token that means masked.
    grid: (h, w) of the tokens; only the order `Halton` needs it.
    critic_fn: (tokens [B, N] of which none is masked, progress as above) ->
      float [B, N], high where they look real; only `Critic` needs it.
    trace: return the tokens of all steps, as they are before masking again.

  Returns:
    int32 [B, N], or [B, T, N] with `trace`; no `mask_id` is left.

  Raises:
    ValueError: if an order lacks what it needs.
  """
  given = tokens != mask_id
  draw_keys, order_keys, remask_keys = (
    key_lib.fold_in(keys, i) for i in range(3)
  )

  def step(carry, t):
    tokens, log_p = carry
    masked = tokens == mask_id
    progress = t / strategy.steps
    logits = logits_fn(tokens, progress).astype(jnp.float32)
    drawn = strategy.choice(
      key_lib.fold_in(draw_keys, t), _sharpness(strategy, t) * logits
    )
    tokens = jnp.where(masked, drawn, tokens)
    log_p = jnp.where(masked, _log_p(logits, drawn), log_p)
    seen = orders.Step(
      index=t,
      progress=(t + 1) / strategy.steps,
      log_p=log_p,
      grid=grid,
      realism=None if critic_fn is None else critic_fn(tokens, progress),
    )
    again = _again(strategy, order_keys, remask_keys, seen, given, masked)
    return (jnp.where(again, mask_id, tokens), log_p), tokens

  start = (tokens, jnp.zeros(tokens.shape, jnp.float32))
  (final, _), drawn = jax.lax.scan(step, start, jnp.arange(strategy.steps))
  return jnp.swapaxes(drawn, 0, 1) if trace else final


def _again(strategy, order_keys, remask_keys, seen, given, masked):
  """Returns which positions are masked after a step: bool [B, N].

  Args:
    strategy: the strategy.
    order_keys: [B], of the order.
    remask_keys: [B], of the order of remasking.
    seen: `orders.Step`.
    given: bool [B, N], tokens that were never masked.
    masked: bool [B, N], tokens that were masked before the step.
  """
  count = masked_counts(
    strategy,
    seen.index,
    jnp.sum(~given, axis=1),
    jnp.sum(masked, axis=1),
    given.shape[1],
  )
  scores = strategy.order.scores(order_keys, seen)
  if strategy.order.revises:
    return orders.lowest(scores, ~given, count)
  if strategy.remask is None:
    return orders.lowest(scores, masked, count)
  decided = ~given & ~masked
  back = strategy.remask.counts(jnp.sum(decided, axis=1), count)
  revoked = strategy.remask.order.scores(remask_keys, seen)
  return orders.lowest(revoked, decided, back) | orders.lowest(
    scores, masked, count - back
  )


def _sharpness(strategy: MaskGITDecoding, step: jax.Array) -> jax.Array:
  """Returns what the logits are multiplied by: []."""
  return 1 + (strategy.sharpen - 1) * step / max(strategy.steps - 1, 1)


def _log_p(logits: jax.Array, drawn: jax.Array) -> jax.Array:
  """Returns the log-probability of the drawn tokens: float32 [B, N]."""
  log_p = jax.nn.log_softmax(logits)
  return jnp.take_along_axis(log_p, drawn[..., None], axis=-1)[..., 0]
