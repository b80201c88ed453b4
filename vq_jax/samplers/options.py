"""Samplers from options, with errors that say why an option does not apply."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from vq_jax import priors
from vq_jax.samplers import autoregressive
from vq_jax.samplers import base
from vq_jax.samplers import maskgit
from vq_jax.utils import names

Sampler = maskgit.MaskGITSampler | autoregressive.AutoregressiveSampler

_WHY_NOT = {
  maskgit.MaskGITSampler: 'samples all masked tokens in parallel',
  autoregressive.AutoregressiveSampler: (
    'samples one token after the other, so it has no steps and no order'
  ),
}


def sampler_for(prior: priors.Prior, options: Mapping[str, Any]) -> Sampler:
  """Returns the sampler for a kind of prior.

  Args:
    prior: the prior.
    options: fields of its sampler, by name, as a config has them.

  Raises:
    ValueError: if the sampler has no such option, or a value is out of range.
  """
  sampler: Sampler = maskgit.MaskGITSampler()
  if prior.causal:
    sampler = autoregressive.AutoregressiveSampler()
  return with_options(sampler, options)


def with_options(sampler: Sampler, options: Mapping[str, Any]) -> Sampler:
  """Returns a sampler with some of its options replaced.

  Args:
    sampler: the sampler.
    options: new values of its fields, by name.

  Raises:
    ValueError: if the sampler has no such option, or a value is out of range.
  """
  cls = type(sampler)
  valid = option_names(cls)
  for name in options:
    if name in valid:
      continue
    for other in _WHY_NOT:
      if name in option_names(other):
        raise ValueError(
          f'{name} is not an option of {cls.__name__}, which {_WHY_NOT[cls]}; '
          'leave it out.'
        )
    raise ValueError(names.unknown('sampling option', name, valid))
  return dataclasses.replace(sampler, **options)


def option_names(cls: type[base.TokenSampler]) -> list[str]:
  """Returns the names of the options of a class of samplers."""
  return [field.name for field in dataclasses.fields(cls)]
