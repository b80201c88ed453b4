"""The options that all samplers share."""

import dataclasses
import functools
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from vq_jax import priors
from vq_jax.samplers import choice as choice_lib
from vq_jax.samplers import guidance as guidance_lib
from vq_jax.utils import fields
from vq_jax.utils import names


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenSampler:
  """Options of all samplers: how one token is chosen from its logits.

  Attributes:
    temperature: The logits are divided by this temperature; 0 always chooses
      the most likely token.
    top_k: Only the k most likely tokens are sampled; None is no limit.
    top_p: Only the most likely tokens that together have this probability are
      sampled (nucleus sampling); None is no limit.
    guidance: The strength of classifier-free guidance; 0 turns it off.
    guidance_schedule: How the strength of guidance grows while an image is
      sampled: constant, linear or power_cosine.
    guidance_power: The exponent of the guidance schedule power_cosine; a larger
      one makes guidance set in later.
  """

  temperature: choice_lib.Temperature = 1.0
  top_k: fields.PositiveInt | None = None
  top_p: choice_lib.Nucleus | None = None
  guidance: guidance_lib.Scale = 0.0
  guidance_schedule: str | Callable[[jax.Array], jax.Array] = 'linear'
  guidance_power: guidance_lib.Power = 1.0

  def __post_init__(self):
    fields.check(self)
    self.make_guidance()  # raises for an unknown name

  def make_choice(self) -> choice_lib.TokenChoice:
    """Returns the function that samples tokens from logits."""
    return choice_lib.TokenChoice(
      temperature=self.temperature, top_k=self.top_k, top_p=self.top_p
    )

  def make_guidance(self) -> guidance_lib.Guidance:
    """Returns the classifier-free guidance."""
    schedule = self.guidance_schedule
    if isinstance(schedule, str):
      schedule = names.lookup(
        guidance_lib.SCHEDULES, schedule, 'guidance schedule'
      )
    if schedule is guidance_lib.PowerCosine:
      schedule = guidance_lib.PowerCosine(power=self.guidance_power)
    return guidance_lib.Guidance(scale=self.guidance, schedule=schedule)


def make_apply(
  guidance: guidance_lib.Guidance,
  prior: priors.Prior,
  variables: Mapping[str, Any],
  batch_size: int,
  *,
  label: jax.Array | None,
  condition: jax.Array | None,
  share_rows: bool = False,
) -> tuple[Callable[..., Any], int]:
  """Returns `prior.apply` with its conditioning, doubled for guidance.

  Args:
    guidance: the guidance; if its scale is not 0, each row of the batch is
      repeated, with the label "no class" the second time.
    prior: the prior.
    variables: its variables.
    batch_size: B.
    label: int32 [B], for a prior with classes.
    condition: int32 [B, M], the tokens of the parent level, for a prior that
      is conditioned on one.
    share_rows: whether logits of equal rows are computed once; see
      `share_equal_rows`.

  Returns:
    (function, R): the function takes tokens [R, N], or other arguments of the
    prior's methods; R is B, or 2 B with guidance.
  """
  null_label = prior.vocab.null_label if guidance.scale else None
  rows = batch_size * (2 if guidance.scale else 1)
  if condition is not None:
    condition = guidance.repeat(condition)
  apply: Callable[..., Any] = functools.partial(prior.apply, variables)
  if share_rows:
    apply = functools.partial(share_equal_rows, apply)
  label = guidance.rows(label, null_label)
  return functools.partial(apply, label=label, condition=condition), rows


def unroll_on_cpu(
  sample: Callable[[priors.Prior, Mapping[str, Any]], jax.Array],
  prior: priors.Prior,
  variables: Mapping[str, Any],
) -> jax.Array:
  """Returns `sample(prior, variables)`, on a CPU with `priors.unroll`."""
  if not priors.is_scanned(prior):
    return sample(prior, variables)
  return jax.lax.platform_dependent(
    variables,
    cpu=lambda variables: sample(*priors.unroll(prior, variables)),
    default=functools.partial(sample, prior),
  )


def share_equal_rows(
  apply: Callable[..., jax.Array],
  tokens: jax.Array,
  *,
  label: jax.Array | None,
  condition: jax.Array | None,
) -> jax.Array:
  """Applies a prior once to rows that are equal, if there are many of them.

  At the first step of a new image all tokens are masked, so that the images of
  one class, and all rows without a class, have the same logits. Where a quarter
  of the rows or fewer are different, only these are computed.

  Args:
    apply: a prior: (tokens int32 [R, N], label, condition) -> [R, ...].
    tokens: int32 [R, N].
    label: int32 [R] or None.
    condition: int32 [R, M] or None.

  Returns:
    `apply(tokens, label=label, condition=condition)`.
  """
  inputs = {'tokens': tokens, 'label': label, 'condition': condition}
  limit = len(tokens) // 4
  if not limit:
    return apply(**inputs)
  rows = jnp.concatenate(
    [x.reshape(len(tokens), -1) for x in inputs.values() if x is not None], 1
  )
  first = jnp.argmax(jnp.all(rows[:, None] == rows[None], axis=-1), axis=1)
  is_first = first == jnp.arange(len(rows))

  def apply_to_different():
    different = jnp.flatnonzero(is_first, size=limit, fill_value=0)
    found = apply(**jax.tree.map(lambda x: x[different], inputs))
    return found[(jnp.cumsum(is_first) - 1)[first]]

  return jax.lax.cond(
    jnp.sum(is_first) <= limit, apply_to_different, lambda: apply(**inputs)
  )
