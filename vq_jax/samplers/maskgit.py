"""Parallel decoding: all tokens at once, the best are kept.

MaskGIT (Chang et al. 2022), section 3.2, and what came after: other orders, and
decided tokens that are masked again.
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from vq_jax.samplers import choice as choice_lib
from vq_jax.samplers import counting
from vq_jax.samplers import keys as key_lib
from vq_jax.samplers import orders
from vq_jax.samplers import schedules
from vq_jax.utils import fields

Steps = Annotated[int, fields.Range(least=1, most=4096)]
Sharpness = Annotated[float, fields.Range(above=0, most=1e4)]


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

  eta: fields.Fraction
  limit: Literal['cap', 'rescale'] = 'cap'
  order: orders.Order = orders.Random()

  def __post_init__(self):
    fields.check(self)

  def counts(
    self, decided: jax.Array, masked: jax.Array, total: int
  ) -> jax.Array:
    """Returns how many go: int32 [B].

    Args:
      decided: int32 [B], tokens decided before the step, without given ones.
      masked: int32 [B], tokens masked after it.
      total: N, the tokens of an image.
    """
    shares = counting.shares(self.eta, total)
    most = jnp.minimum(decided, masked)  # sigma's maximum, times the decided
    if self.limit == 'rescale':
      return counting.take(shares, most)
    return jnp.minimum(counting.take(shares, decided), most)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskGITDecoding:
  """Parallel decoding.

  In each step every masked position draws a token, and those that come last in
  the order are masked again, as many as the schedule says.

  Attributes:
    steps: T, at most 4,096. Where fewer tokens are masked, the last steps have
      nothing to do.
    schedule: fraction still masked at r = t / T, from
      `vq_jax.samplers.schedules`.
    rounding: which number of tokens is rounded down: that of the masked ones
      ('masked'), or that of the decided ones ('decided', as in the code of
      Halton-MaskGIT). 'float32' rounds the masked ones down after computing in
      float32, as the code of MaskGIT does: of 64 tokens cos(pi / 3) leaves 31.
    order: which positions are kept, from `vq_jax.samplers.orders`.
    choice: how a token is drawn.
    sharpen: the logits are multiplied by a factor that grows linearly from 1 at
      the first step to this at the last (Halton-MaskGIT: 1.2). The order sees
      the plain logits, whatever this and the temperature of the choice are.
    remask: how decided tokens are masked again; None if they never are.
  """

  steps: Steps = 8
  schedule: Callable[..., schedules.Array] = schedules.cosine
  rounding: counting.Rounding = 'masked'
  order: orders.Order = orders.Confidence()
  choice: choice_lib.TokenChoice = choice_lib.TokenChoice()
  sharpen: Sharpness = 1.0
  remask: Remasking | None = None

  def __post_init__(self):
    fields.check(self)
    if self.remask is not None and self.order.revises:
      raise ValueError(
        f'with {self.order} all tokens compete in each step already; leave '
        'remask None.'
      )

  def masked_counts(self, total: int) -> np.ndarray:
    """Returns how many of N tokens are masked after each step.

    Args:
      total: N.

    Returns:
      int32 [T, N + 1]; see `counting.masked_counts`.
    """
    return counting.masked_counts(
      self.schedule, self.steps, total, self.rounding
    )


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
    logits_fn: (tokens [B, N], progress r = t / T) -> logits [B, N, K].
    tokens: int32 [B, N], `mask_id` where masked.
    strategy: how they are decided.
    mask_id: the token that means masked.
    grid: (h, w) of the tokens, for the order `Halton`.
    critic_fn: (tokens [B, N] of which none is masked, progress as above) ->
      float [B, N], high where they look real, for the order `Critic`.
    trace: return the tokens of all steps, as they are before masking again.

  Returns:
    int32 [B, N], or [B, T, N] with `trace`; no `mask_id` is left. An example
    is all `choice.INVALID` if its logits or a critic's scores were NaN.

  Raises:
    ValueError: if an order lacks what it needs.
  """
  given = tokens != mask_id
  draw_keys, *order_keys = [key_lib.fold_in(keys, i) for i in range(3)]
  counts = counting.take(
    strategy.masked_counts(tokens.shape[1]), jnp.sum(~given, axis=1)
  )

  def step(carry, inputs):
    tokens, log_p, lost = carry
    t, count = inputs
    masked, progress = tokens == mask_id, t / strategy.steps
    logits = logits_fn(tokens, progress).astype(jnp.float32)
    sharp = _sharpness(strategy, t) * logits
    drawn = strategy.choice(key_lib.fold_in(draw_keys, t), sharp)
    tokens = jnp.where(masked, drawn, tokens)
    log_p = jnp.where(masked, _log_p(logits, drawn), log_p)
    realism = None if critic_fn is None else critic_fn(tokens, progress)
    after = (t + 1) / strategy.steps
    seen = orders.Step(
      index=t, progress=after, log_p=log_p, grid=grid, realism=realism
    )
    lost |= _is_lost(tokens, seen)
    tokens = jnp.where(lost[:, None], choice_lib.INVALID, tokens)
    again = _again(strategy, order_keys, seen, given, masked, count)
    return (jnp.where(again, mask_id, tokens), log_p, lost), tokens

  start = (tokens, jnp.zeros(tokens.shape, jnp.float32), tokens[:, 0] < 0)
  steps = (jnp.arange(strategy.steps), counts)
  (final, *_), drawn = jax.lax.scan(step, start, steps)
  return jnp.swapaxes(drawn, 0, 1) if trace else final


def _is_lost(tokens: jax.Array, seen: orders.Step) -> jax.Array:
  """Returns which examples cannot be gone on with: bool [B]."""
  invalid = tokens == choice_lib.INVALID
  if seen.realism is not None:
    invalid |= jnp.isnan(seen.realism)
  return jnp.any(invalid, axis=1)


def _again(strategy, keys, seen, given, masked, count):
  """Returns which positions are masked after a step: bool [B, N].

  Args:
    strategy: the strategy.
    keys: [B] of the order, and [B] of the order of remasking.
    seen: `orders.Step`.
    given: bool [B, N], tokens that were never masked.
    masked: bool [B, N], tokens that were masked before the step.
    count: int32 [B], how many are masked after it.
  """
  scores = strategy.order.scores(keys[0], seen)
  if strategy.order.revises:
    return orders.lowest(scores, ~given, count)
  if strategy.remask is None:
    return orders.lowest(scores, masked, count)
  decided = ~given & ~masked
  number = jnp.sum(decided, axis=1)
  back = strategy.remask.counts(number, count, given.shape[1])
  revoked = strategy.remask.order.scores(keys[1], seen)
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
