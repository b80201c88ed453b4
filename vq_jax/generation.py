"""Sampling tokens, compiled."""

import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax

from vq_jax import samplers


@functools.partial(
  jax.jit, static_argnames=('sampler', 'prior', 'critic', 'trace')
)
def sample_tokens(
  sampler: samplers.Sampler,
  keys: jax.Array,
  prior: nn.Module,
  variables: Mapping[str, Any],
  tokens: jax.Array,
  known: jax.Array,
  label: jax.Array | None,
  condition: jax.Array | None,
  critic: nn.Module | None = None,
  critic_variables: Mapping[str, Any] | None = None,
  trace: bool = False,
) -> jax.Array:
  """Calls a sampler; see `samplers.MaskGITSampler`."""
  options = {}
  if critic is not None:
    options = {'critic': critic, 'critic_variables': critic_variables}
  return sampler(
    keys,
    prior,
    variables,
    tokens,
    known,
    label=label,
    condition=condition,
    trace=trace,
    **options,
  )
