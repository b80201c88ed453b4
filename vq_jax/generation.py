"""Sampling a prior as its card says, and checks of what a user asks for."""

import dataclasses
import functools
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vq_jax import samplers
from vq_jax.config import registry
from vq_jax.samplers import choice as choice_lib
from vq_jax.samplers import guidance as guidance_lib
from vq_jax.samplers import maskgit
from vq_jax.utils import fields


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Sampling:
  """What all priors can be asked for.

  Attributes:
    temperature: of the drawn tokens; 0 takes the most likely ones.
    top_k: only the k most likely tokens are drawn; None for all.
    top_p: only the most likely tokens are drawn, as many as make up this
      probability; None for all.
    guidance: strength of classifier-free guidance; 0 is none.
    guidance_schedule: of that strength; see `registry.GUIDANCE_SCHEDULES`.
    guidance_power: of the schedule power_cosine; the greater, the later
      guidance sets in.
  """

  temperature: choice_lib.Temperature = 1.0
  top_k: fields.PositiveInt | None = None
  top_p: choice_lib.Nucleus | None = None
  guidance: guidance_lib.Scale = 0.0
  guidance_schedule: str = 'linear'
  guidance_power: guidance_lib.Power = 1.0

  def __post_init__(self):
    fields.check(self)
    self.guide()  # it looks the schedule up

  def choice(self) -> samplers.TokenChoice:
    """Returns how a token is drawn."""
    return samplers.TokenChoice(
      temperature=self.temperature, top_k=self.top_k, top_p=self.top_p
    )

  def guide(self) -> samplers.Guidance:
    """Returns the guidance."""
    schedule = registry.lookup(
      registry.GUIDANCE_SCHEDULES, self.guidance_schedule, 'guidance schedule'
    )
    if schedule is samplers.guidance.PowerCosine:
      schedule = schedule(power=self.guidance_power)
    return samplers.Guidance(scale=self.guidance, schedule=schedule)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskedSampling(_Sampling):
  """How a MaskGIT is sampled: section `sampling` of its card.

  Attributes:
    steps: decoding steps.
    schedule: of the masked fraction, by name; see `registry.SCHEDULES`.
    rounding: which number of tokens is rounded down: 'masked', 'decided' or
      'float32'; see `samplers.MaskGITDecoding`.
    order: which positions are decided first; see `registry.ORDERS`.
    choice_temperature: randomness in the orders 'confidence' and 'critic'.
    sharpen: the logits are multiplied by 1 at first, by this at last.
    remask: how many decided tokens are masked again, in [0, 1]; 0 is none.
    remask_limit: 'cap' or 'rescale'; see `samplers.Remasking`.
  """

  steps: maskgit.Steps = 8
  schedule: str = 'cosine'
  rounding: Literal['masked', 'decided', 'float32'] = 'masked'
  order: str = 'confidence'
  choice_temperature: choice_lib.Temperature = 4.5
  sharpen: maskgit.Sharpness = 1.0
  remask: fields.Fraction = 0.0
  remask_limit: Literal['cap', 'rescale'] = 'cap'

  def __post_init__(self):
    super().__post_init__()
    self.strategy()  # it looks names up

  def strategy(self) -> samplers.MaskGITDecoding:
    """Returns what the sampler takes."""
    order = registry.lookup(registry.ORDERS, self.order, 'order')
    names = {f.name for f in dataclasses.fields(order)}
    warm = {'temperature': self.choice_temperature}
    return samplers.MaskGITDecoding(
      steps=self.steps,
      schedule=registry.lookup(
        registry.SCHEDULES, self.schedule, 'mask schedule'
      ),
      rounding=self.rounding,
      order=order(**{k: v for k, v in warm.items() if k in names}),
      choice=self.choice(),
      sharpen=self.sharpen,
      remask=self.remasking() if self.remask else None,
    )

  def remasking(self) -> samplers.Remasking:
    """Returns how decided tokens are masked again."""
    return samplers.Remasking(eta=self.remask, limit=self.remask_limit)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CausalSampling(_Sampling):
  """How an autoregressive prior is sampled: section `sampling` of its card.

  Attributes:
    cache: whether what earlier tokens computed is kept. Without, each token
      takes a pass over the whole image: the same tokens, slowly.
  """

  cache: bool = True


Sampling = MaskedSampling | CausalSampling

_WHY_NOT = {
  MaskedSampling: (
    'it looks at all tokens in both directions, so that each new one changes '
    'all that was computed and nothing can be kept'
  ),
  CausalSampling: (
    'it decides one token after the other, row by row, so there are no steps '
    'and no order to choose'
  ),
}


def is_causal(prior: nn.Module) -> bool:
  """Tells whether a prior decides one token after the other."""
  return hasattr(prior, 'step')


def sampling_of(
  prior: nn.Module, card: Mapping[str, Any], options: Mapping[str, Any]
) -> Sampling:
  """Returns how a prior is sampled.

  Args:
    prior: the module.
    card: section `sampling` of its card.
    options: what is asked for instead.

  Raises:
    ValueError: if an option does not exist, or not for such a prior.
  """
  kind = CausalSampling if is_causal(prior) else MaskedSampling
  other = MaskedSampling if is_causal(prior) else CausalSampling
  names, others = (
    {field.name for field in dataclasses.fields(k)} for k in (kind, other)
  )
  for name in {**card, **options}:
    if name in names:
      continue
    if name in others:
      raise ValueError(
        f'{name} is no option for a {type(prior).__name__}: {_WHY_NOT[kind]}. '
        'Leave it out.'
      )
    raise registry.SpecError(registry.unknown('sampling option', name, names))
  return kind(**{**card, **options})


@functools.partial(
  jax.jit, static_argnames=('prior', 'sampling', 'critic', 'trace')
)
def sample_tokens(
  prior: nn.Module,
  variables: Mapping[str, Any],
  keys: jax.Array,
  tokens: jax.Array,
  known: jax.Array,
  label: jax.Array | None,
  condition: jax.Array | None,
  *,
  sampling: Sampling,
  critic: nn.Module | None = None,
  critic_variables: Mapping[str, Any] | None = None,
  trace: bool = False,
) -> jax.Array:
  """Draws tokens: int32 [B, N], or of all steps of a MaskGIT [B, T, N].

  Args:
    prior: the module, with its variables.
    variables: see prior.
    keys: [B], one per example.
    tokens: int32 [B, N].
    known: bool [B, N], tokens that stay.
    label: int32 [B], for a prior with classes.
    condition: int32 [B, N'], coarser codes, for a prior that has such.
    sampling: how.
    critic: for the order 'critic', with critic_variables.
    critic_variables: see critic.
    trace: whether all steps are returned.
  """
  guidance = sampling.guide()
  rows = guidance.rows(
    label, prior.vocab.null_label if guidance.scale else None
  )
  size = len(tokens) * (2 if guidance.scale else 1)
  if condition is not None:
    condition = jnp.tile(condition, (size // len(tokens), 1))
  apply = functools.partial(
    prior.apply, variables, label=rows, condition=condition
  )

  if not is_causal(prior):
    return samplers.maskgit.decode(
      keys,
      guidance.logits_fn(apply),
      jnp.where(known, tokens, prior.vocab.mask_id),
      sampling.strategy(),
      mask_id=prior.vocab.mask_id,
      grid=prior.grid,
      critic_fn=_critic_fn(critic, critic_variables, label),
      trace=trace,
    )
  if sampling.cache:
    step = functools.partial(prior.apply, variables, method='step')
    cache = apply(size, method='start')
  else:
    step, cache = full_pass(apply, size, prior.num_tokens)
  step = guidance.step_fn(step, prior.num_tokens)
  return samplers.autoregressive.decode(
    keys, step, cache, tokens, known, sampling.choice()
  )


def _critic_fn(critic, variables, label):
  """Returns what tells the sampler how real tokens look, or None."""
  if critic is None:
    return None
  return lambda tokens, _: critic.apply(variables, tokens, label=label)


def full_pass(
  apply: Callable[[jax.Array], jax.Array], size: int, num_tokens: int
) -> tuple[Callable, jax.Array]:
  """Returns a step without a cache, which passes over all tokens, and a start.

  Args:
    apply: tokens [B, N] -> logits [B, N, K].
    size: B.
    num_tokens: N.

  Returns:
    (tokens, previous, position) -> (logits [B, K], tokens); tokens [B, N].
  """

  def step(tokens, previous, position):
    # At position 0 this writes the last token, which nothing reads.
    tokens = tokens.at[:, position - 1].set(previous)
    logits = jax.lax.dynamic_index_in_dim(
      apply(tokens), position, axis=1, keepdims=False
    )
    return logits, tokens

  return step, jnp.zeros((size, num_tokens), jnp.int32)


def rows_so_far(
  tokens: jax.Array, grid: tuple[int, int]
) -> tuple[jax.Array, np.ndarray]:
  """Returns an image after each row: tokens, and which are decided.

  Args:
    tokens: int32 [B, N].
    grid: (h, w).

  Returns:
    int32 [B, h, N], with 0 for what is not decided; bool [h, N].
  """
  h, w = grid
  decided = np.repeat(np.tri(h, dtype=bool), w, axis=1)
  return jnp.where(decided[None], tokens[:, None], 0), decided
