"""Run folders: loading a `Model` from one, and writing those within others."""

import dataclasses
import os
import pathlib
from typing import Any

import jax

from vq_jax import checkpoints
from vq_jax import samplers
from vq_jax.config import modules
from vq_jax.model import Model
from vq_jax.utils import trees

# What every run's config says.
_SECTIONS = {
  'card': ('task', 'model', 'data'),
  'data': ('image_shape', 'class_names'),
}

# Folders within that of a prior: what it was trained on, and with.
AUTOENCODER, COARSER, GENERATOR = 'autoencoder', 'coarser', 'generator'


def load(folder: str | os.PathLike) -> Model:
  """Loads a run: an autoencoder's, or a prior's with all that it needs.

  Raises:
    RunError: if the folder is no run, or holds no complete checkpoint.
    ValueError: if the checkpoint does not fit the config.
  """
  folder = pathlib.Path(folder)
  config = _read_config(folder)
  if (folder / GENERATOR).is_dir():
    return _load_critic(folder, config)
  if 'labels' in config:
    return load_prior(folder, load(folder / AUTOENCODER))
  module = modules.make_autoencoder(config)
  variables = _load_variables(
    folder, lambda rng: modules.init_autoencoder(module, config, rng)
  )
  return Model(
    autoencoder=module,
    variables={'autoencoder': variables},
    config=config,
    autoencoder_config=config,
  )


def _read_config(folder: pathlib.Path) -> dict[str, Any]:
  """Reads the config of a run, and checks that its sections are there."""
  config = checkpoints.read_config(folder)
  for section, keys in _SECTIONS.items():
    found = config.get(section) if isinstance(config, dict) else None
    there = found if isinstance(found, dict) else {}
    missing = [key for key in keys if key not in there]
    if missing:
      raise checkpoints.RunError(
        f'{folder / checkpoints.CONFIG} is not the config of a run: its '
        f'section {section} lacks {", ".join(missing)}. Copy it again from '
        'where the run was trained.'
      )
  return config


def load_prior(folder: pathlib.Path, inner: Model) -> Model:
  """Loads a prior of the codes of the autoencoder `inner`."""
  config = _read_config(folder)
  prior = modules.make_prior(config, inner.autoencoder)
  variables = _load_variables(
    folder, lambda rng: modules.init_prior(prior, rng)
  )
  coarser = None
  if config['card'].get('level', 0):
    coarser = load_prior(folder / COARSER, inner)
  return Model(
    autoencoder=inner.autoencoder,
    prior=prior,
    vocab=prior.vocab,
    variables={**inner.variables, 'prior': variables},
    config=config,
    autoencoder_config=inner.config,
    coarser=coarser,
  )


def _load_critic(folder, config) -> Model:
  """Loads a critic and the MaskGIT whose tokens it judges."""
  generator = load(folder / GENERATOR)
  critic = modules.make_critic(config, generator.prior)
  variables = _load_variables(
    folder, lambda rng: modules.init_prior(critic, rng)
  )
  return dataclasses.replace(
    generator,
    critic=critic,
    variables={**generator.variables, 'critic': variables},
    config=config,
  )


def _load_variables(folder, init) -> dict[str, Any]:
  """Loads the variables of a run, which must be those that `init` makes."""
  variables, step = checkpoints.load_variables(folder)
  return trees.merge_strict(
    jax.eval_shape(init, jax.random.key(0)),
    variables,
    source=f'the checkpoint {folder / checkpoints.CHECKPOINTS / str(step)}',
  )


def export(model: Model, folder: str | os.PathLike) -> None:
  """Writes an autoencoder, or a prior with all it needs, as a run folder.

  See `checkpoints.export`.

  Raises:
    ValueError: if the run is that of a critic.
  """
  if model.critic is not None:
    raise ValueError('this run is a critic; give the run of its generator.')
  if model.prior is None:
    export_autoencoder(model, folder)
    return
  checkpoints.export(
    pathlib.Path(folder) / AUTOENCODER,
    model.autoencoder_config,
    model.variables['autoencoder'],
  )
  export_prior(model, folder)


def export_autoencoder(model: Model, folder: str | os.PathLike) -> None:
  """Writes the autoencoder alone as a run folder; see `checkpoints.export`.

  Raises:
    ValueError: if the run is that of a prior.
  """
  if model.prior is not None:
    raise ValueError('this run is a prior; give the run of its autoencoder.')
  checkpoints.export(folder, model.config, model.variables['autoencoder'])


def export_prior(model: Model, folder: str | os.PathLike) -> None:
  """Writes a prior, and the coarser ones within it, without its autoencoder.

  Raises:
    ValueError: if there is no prior.
  """
  if model.prior is None:
    raise ValueError('this run is an autoencoder; give the run of a prior.')
  folder = pathlib.Path(folder)
  checkpoints.export(folder, model.config, model.variables['prior'])
  if model.coarser is not None:
    export_prior(model.coarser, folder / COARSER)


def export_generator(model: Model, folder: str | os.PathLike) -> None:
  """Writes a MaskGIT with its autoencoder.

  Raises:
    ValueError: if it is none.
  """
  if model.prior is None or samplers.is_causal(model.prior):
    raise ValueError(
      'a critic judges the tokens of a MaskGIT; give the run of one.'
    )
  export(model, folder)
