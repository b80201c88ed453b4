"""Parallel decoding of masked tokens (MaskGIT and its successors)."""

import dataclasses
from collections.abc import Callable
from collections.abc import Mapping
from typing import Annotated
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vq_jax import priors
from vq_jax.samplers import base
from vq_jax.samplers import choice as choice_lib
from vq_jax.samplers import counting
from vq_jax.samplers import keys as key_lib
from vq_jax.samplers import orders
from vq_jax.samplers import schedules
from vq_jax.utils import fields
from vq_jax.utils import names

Steps = Annotated[int, fields.Range(least=1, most=4096)]
LogitScale = Annotated[float, fields.Range(above=0, most=1e4)]
LogitsFn = Callable[[jax.Array, jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskGITSampler(base.TokenSampler):
  """Samples all masked tokens in parallel and keeps the best in each step.

  MaskGIT, https://arxiv.org/abs/2202.04200, section 3.2. In each step a token
  is sampled for every masked position; the positions that come last in the
  order are masked again, as many as the schedule says. The options of
  `TokenSampler` apply as well.

  With `remask`, decided tokens are masked again and sampled anew (ReMDM,
  https://arxiv.org/abs/2503.00307). ReMDM masks a decided token with the
  probability sigma, at most min(1, (1 - alpha') / alpha), where the fractions
  alpha and alpha' are decided before and after a step. Here the number is fixed
  instead: sigma of the decided tokens, rounded down, are masked, and as many
  more masked tokens are decided, so that the schedule holds.

  Attributes:
    steps: The number of decoding steps T, at most 4096. If fewer tokens are
      masked, the last steps change nothing.
    schedule: The fraction of tokens that is still masked after each step:
      arccos, cosine, cubic, exp, linear, log, sqrt or square.
    rounding: The count that is rounded down, that of the masked tokens (masked)
      or that of the decided tokens (decided, as in the code of Halton-MaskGIT).
      The value float32 rounds the masked count down after computing in
      float32, as the code of MaskGIT does.
    order: The positions that are decided first, by confidence, halton, random
      or critic; critic needs the run of a token critic.
    choice_temperature: The amount of noise in the orders confidence and critic;
      0 is a deterministic order.
    logit_scale: The logits are multiplied by a factor that grows linearly from
      1 at the first step to this at the last (Halton-MaskGIT uses 1.2). The
      order uses the logits without this factor and without the temperature.
    remask: The fraction of decided tokens that are masked again in each step
      (eta of ReMDM); 0 turns remasking off.
    remask_limit: The bound of that fraction sigma. With cap, sigma is the
      smaller of remask and its maximum; with rescale, sigma is remask times its
      maximum.
    remask_order: The decided tokens that are masked again, random ones (cap and
      rescale of ReMDM) or those that were least likely when they were sampled
      (confidence, the limit of conf of ReMDM).

  Example:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from vq_jax import priors, samplers
    >>> prior = priors.MaskGIT(
    ...   vocab=priors.Vocab(codebook_size=8), grid=(2, 2),
    ...   transformer=priors.TransformerConfig(
    ...     layers=1, width=8, heads=2, mlp_width=8))
    >>> tokens = jnp.zeros((3, 4), jnp.int32)
    >>> variables = prior.init(jax.random.key(0), tokens)
    >>> sampler = samplers.MaskGITSampler(steps=2, order='halton')
    >>> keys = samplers.example_keys(jax.random.key(1), jnp.arange(3))
    >>> sampler(keys, prior, variables, tokens, tokens > 0).shape
    (3, 4)
  """

  steps: Steps = 8
  schedule: str | Callable[..., schedules.Array] = 'cosine'
  rounding: counting.Rounding = 'masked'
  order: str | orders.Order = 'confidence'
  choice_temperature: choice_lib.Temperature = 4.5
  logit_scale: LogitScale = 1.0
  remask: fields.Fraction = 0.0
  remask_limit: counting.RemaskLimit = 'cap'
  remask_order: counting.RemaskOrder = 'random'

  def __post_init__(self):
    super().__post_init__()
    self.make_schedule()  # raises for an unknown name
    if self.make_order().revises and self.remask:
      raise ValueError(
        f'the order {self.order} reconsiders all tokens in each step, so '
        f'remask must be 0; got {self.remask}.'
      )

  def make_schedule(self) -> Callable[..., schedules.Array]:
    """Returns the mask schedule."""
    if isinstance(self.schedule, str):
      return schedules.by_name(self.schedule)
    return self.schedule

  def make_order(self) -> orders.Order:
    """Returns the order in which positions are decided."""
    if not isinstance(self.order, str):
      return self.order
    cls = names.lookup(orders.ORDERS, self.order, 'order')
    if any(field.name == 'temperature' for field in dataclasses.fields(cls)):
      return cls(temperature=self.choice_temperature)
    return cls()

  def masked_counts(self, total: int) -> np.ndarray:
    """Returns `counting.masked_counts` for N tokens: int32 [T, N + 1]."""
    return counting.masked_counts(
      self.make_schedule(), self.steps, total, self.rounding
    )

  def __call__(
    self,
    keys: jax.Array,
    prior: priors.Prior,
    variables: Mapping[str, Any],
    tokens: jax.Array,
    known: jax.Array,
    *,
    label: jax.Array | None = None,
    condition: jax.Array | None = None,
    critic: priors.TokenCritic | None = None,
    critic_variables: Mapping[str, Any] | None = None,
    trace: bool = False,
    share_rows: bool = False,
  ) -> jax.Array:
    """Samples the tokens that are not known.

    Args:
      keys: [B], one key per example; see `example_keys`.
      prior: a prior that predicts masked tokens.
      variables: its variables.
      tokens: int32 [B, N]; values are ignored where they are not known.
      known: bool [B, N], True where a token is given and must stay.
      label: int32 [B], the classes, for a prior with classes.
      condition: int32 [B, M], the parent tokens of a prior that needs them.
      critic: a token critic, for the order 'critic'.
      critic_variables: its variables.
      trace: whether to return the tokens of all steps.
      share_rows: see `base.make_apply`; not for batches split over devices.

    Returns:
      int32 [B, N]. With `trace` int32 [B, T, N]: the tokens of each step before
      some of them are masked again.

    Raises:
      ValueError: if the prior is autoregressive or has no null class for
        guidance, or the order lacks its critic.
    """
    if prior.causal:
      raise ValueError(
        f'a MaskGITSampler cannot sample a {type(prior).__name__}, which is '
        'autoregressive; use an AutoregressiveSampler.'
      )
    guidance = self.make_guidance()
    inputs: dict[str, Any] = {'label': label, 'condition': condition}
    inputs['share_rows'] = share_rows
    apply, _ = base.make_apply(
      guidance, prior, variables, len(tokens), **inputs
    )
    return decode(
      keys,
      guidance.logits_fn(apply),
      jnp.where(known, tokens, prior.vocab.mask_id),
      self,
      mask_id=prior.vocab.mask_id,
      grid=prior.grid,
      critic_fn=_make_critic_fn(critic, critic_variables, label),
      trace=trace,
    )


def _make_critic_fn(critic, variables, label) -> LogitsFn | None:
  """Returns the function of `decode` that scores tokens."""
  if critic is None:
    return None
  return lambda tokens, progress: critic.apply(variables, tokens, label=label)


def decode(
  keys: jax.Array,
  logits_fn: LogitsFn,
  tokens: jax.Array,
  sampler: MaskGITSampler,
  *,
  mask_id: int,
  grid: tuple[int, int] | None = None,
  critic_fn: LogitsFn | None = None,
  trace: bool = False,
) -> jax.Array:
  """Samples the masked tokens; the given tokens never change.

  Args:
    keys: [B], one key per example; see `example_keys`.
    logits_fn: (tokens [B, N], progress r = t / T) -> logits [B, N, K].
    tokens: int32 [B, N], `mask_id` where masked.
    sampler: the options.
    mask_id: the id of the mask token.
    grid: (h, w) of the tokens, which the order 'halton' needs.
    critic_fn: (tokens [B, N], progress) -> scores [B, N], high where tokens
      look real, which the order 'critic' needs.
    trace: whether to return the tokens of all steps.

  Returns:
    int32 [B, N], or [B, T, N] with `trace`. All tokens of an example are
    `choice.INVALID` if its logits or the scores of its critic were NaN.
  """
  given = tokens != mask_id
  choice, order = sampler.make_choice(), sampler.make_order()
  choice_keys, *order_keys = [key_lib.fold_in(keys, i) for i in range(3)]
  counts = counting.take(
    sampler.masked_counts(tokens.shape[1]), jnp.sum(~given, axis=1)
  )

  def step(carry, inputs):
    tokens, log_p, lost = carry
    t, count = inputs
    masked, progress = tokens == mask_id, t / sampler.steps
    logits = logits_fn(tokens, progress).astype(jnp.float32)
    scaled = _logit_scale(sampler, t) * logits
    sampled = choice(key_lib.fold_in(choice_keys, t), scaled)
    tokens = jnp.where(masked, sampled, tokens)
    log_p = jnp.where(masked, choice_lib.log_p(logits, sampled), log_p)
    realism = None if critic_fn is None else critic_fn(tokens, progress)
    after = (t + 1) / sampler.steps
    seen = orders.Step(
      index=t, progress=after, log_p=log_p, grid=grid, realism=realism
    )
    lost |= _is_lost(tokens, realism)
    tokens = jnp.where(lost[:, None], choice_lib.INVALID, tokens)
    again = _masked_again(
      sampler, order, order_keys, seen, given, masked, count
    )
    return (jnp.where(again, mask_id, tokens), log_p, lost), tokens

  start = (tokens, jnp.zeros(tokens.shape, jnp.float32), tokens[:, 0] < 0)
  steps = (jnp.arange(sampler.steps), counts)
  (final, *_), sampled = jax.lax.scan(step, start, steps)
  return jnp.swapaxes(sampled, 0, 1) if trace else final


def _is_lost(tokens: jax.Array, realism: jax.Array | None) -> jax.Array:
  """Returns which examples have invalid tokens or scores: bool [B]."""
  invalid = tokens == choice_lib.INVALID
  if realism is not None:
    invalid |= jnp.isnan(realism)
  return jnp.any(invalid, axis=1)


def _masked_again(sampler, order, keys, seen, given, masked, count):
  """Returns which positions are masked after a step: bool [B, N].

  Args:
    sampler: the options.
    order: the order of positions.
    keys: keys [B] of the order, and keys [B] of the order of remasking.
    seen: the state of decoding.
    given: bool [B, N], tokens that were never masked.
    masked: bool [B, N], tokens that were masked before the step.
    count: int32 [B], how many tokens are masked after the step.
  """
  scores = order.scores(keys[0], seen)
  if order.revises:
    return orders.lowest(scores, ~given, count)
  if not sampler.remask:
    return orders.lowest(scores, masked, count)
  decided = ~given & ~masked
  back = counting.remasked_counts(
    sampler.remask,
    sampler.remask_limit,
    jnp.sum(decided, axis=1),
    count,
    given.shape[1],
  )
  by_confidence = sampler.remask_order == 'confidence'
  remask_order = (
    orders.Confidence(temperature=0) if by_confidence else orders.Random()
  )
  remask_scores = remask_order.scores(keys[1], seen)
  return orders.lowest(remask_scores, decided, back) | orders.lowest(
    scores, masked, count - back
  )


def _logit_scale(sampler: MaskGITSampler, step: jax.Array) -> jax.Array:
  """Returns the factor of the logits at a step: []."""
  return 1 + (sampler.logit_scale - 1) * step / max(sampler.steps - 1, 1)
