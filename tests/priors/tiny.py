"""Small transformers over tokens, whose config is given field by field."""

import dataclasses

import flax.linen as nn

from vq_jax.layers import transformer

_NAMES = {f.name for f in dataclasses.fields(transformer.TransformerConfig)}


def make(cls: type[nn.Module], **fields) -> nn.Module:
  """Makes a prior; each field is one of its own or one of its transformer."""
  sizes = {'layers': 2, 'width': 16, 'heads': 2, 'mlp_width': 32}
  given = {**sizes, **{n: fields.pop(n) for n in _NAMES & set(fields)}}
  config = dataclasses.replace(cls.transformer, **given)
  return cls(transformer=config, **{'grid': (3, 4), **fields})


def change(prior: nn.Module, **fields) -> nn.Module:
  """Changes fields of a prior's transformer, or of one without a config."""
  if not hasattr(prior, 'transformer'):
    return prior.clone(**fields)
  config = dataclasses.replace(prior.transformer, **fields)
  return prior.clone(transformer=config)
