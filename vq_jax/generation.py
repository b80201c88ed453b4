"""Sampling a prior as its card says."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax

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
