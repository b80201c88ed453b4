"""Modules from the `config.json` of a run, and their first variables.

`run_config` is what `config.json` holds: under `config` the config of the
training, under `dataset` the image shape and the class names, and for a prior
under `labels` the fields of its vocabulary.
"""

import inspect
import math
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vq_jax import priors
from vq_jax.config.registry import SpecError
from vq_jax.config.registry import build
from vq_jax.config.registry import get_factory


def make_autoencoder(run_config: Mapping[str, Any]) -> nn.Module:
  """Builds the autoencoder that a run's `config.json` describes."""
  return build('autoencoder', run_config['config']['model'])


def make_prior(
  run_config: Mapping[str, Any], autoencoder: nn.Module
) -> priors.Prior:
  """Builds the prior that a run's `config.json` describes.

  A latent with G indices is G tokens, which follow one another in a row.

  Raises:
    SpecError: if the autoencoder has no such token grid, or the prior cannot be
      conditioned on a parent level.
  """
  grids = autoencoder.token_grids
  level = run_config['config'].get('level', 0)
  if not 0 <= level < len(grids):
    raise SpecError(
      f'config.level must be one of the {len(grids)} token grid(s) of the '
      f'autoencoder, from 0, the coarsest; got {level}.'
    )
  height, width, _ = run_config['dataset']['image_shape']

  def get_token_shape(grid):
    h, w, *index_shape = grid.shape(height, width)
    return (h, w * math.prod(index_shape))

  extra = {
    'vocab': priors.Vocab(
      codebook_size=grids[level].codebook_size, **run_config['labels']
    ),
    'grid': get_token_shape(grids[level]),
  }
  if level:
    spec = run_config['config']['model']
    factory = get_factory('prior', spec.get('type'))
    if 'parent_codebook_size' not in inspect.signature(factory).parameters:
      raise SpecError(
        f'{spec["type"]!r} cannot be conditioned on a parent level, so '
        f'config.level must be 0; got {level}. Use pixelsnail, autoregressive '
        'or maskgit.'
      )
    extra |= {
      'parent_codebook_size': grids[level - 1].codebook_size,
      'parent_grid': get_token_shape(grids[level - 1]),
    }
  return build('prior', run_config['config']['model'], **extra)


def make_critic(
  run_config: Mapping[str, Any], prior: priors.Prior
) -> priors.TokenCritic:
  """Builds the critic of a prior's tokens that a run's config describes."""
  return build(
    'critic', run_config['config']['model'], vocab=prior.vocab, grid=prior.grid
  )


def init_autoencoder(
  autoencoder: nn.Module, image_shape: Sequence[int], rng: jax.Array
) -> dict[str, Any]:
  """Initialises an autoencoder's variables, for images of shape (H, W, C)."""
  image = jnp.zeros((1, *image_shape))
  return dict(autoencoder.init(rng, image))


def init_prior(
  prior: priors.Prior | priors.TokenCritic, rng: jax.Array
) -> dict[str, Any]:
  """Initialises a prior's variables."""
  tokens = jnp.zeros((1, prior.num_tokens), jnp.int32)
  inputs: dict[str, Any] = {}
  if prior.vocab.num_classes:
    inputs['label'] = jnp.zeros(1, jnp.int32)
  parent_grid = getattr(prior, 'parent_grid', None)
  if parent_grid is not None:
    inputs['condition'] = jnp.zeros((1, math.prod(parent_grid)), jnp.int32)
  return dict(prior.init(rng, tokens, **inputs))
