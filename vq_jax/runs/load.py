"""Loading a `Model` from a run folder."""

import os
import pathlib
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax

from vq_jax import inference
from vq_jax import priors
from vq_jax import samplers
from vq_jax.config import modules
from vq_jax.config import registry
from vq_jax.model import Model
from vq_jax.runs import checkpoints
from vq_jax.runs import checksums
from vq_jax.runs import layout
from vq_jax.runs import locations
from vq_jax.utils import trees


def load(source: str | os.PathLike, *, abstract: bool = False) -> Model:
  """Loads a run: an autoencoder, or a prior with all that it needs.

  Args:
    source: a run folder, the name of a packaged model ('fashion'),
      `gs://bucket/folder` or `hf://org/name[@revision]`.
    abstract: whether the variables are shapes (`jax.ShapeDtypeStruct`), for
      which no checkpoint is read.

  Raises:
    RunError: if the folder is not a run folder, or has no complete checkpoint,
      or if a file of an exported run is damaged.
    ValueError: if the checkpoint does not fit the config.
  """
  folder = locations.resolve(source)
  if not abstract:
    checksums.check_export(folder)
  return _load(folder, abstract)


def _load(folder: pathlib.Path, abstract: bool) -> Model:
  """Loads the run of a folder; see `load`."""
  run_config = layout.read_complete_config(folder)
  if (folder / layout.GENERATOR).is_dir():
    return _load_critic(folder, run_config, abstract)
  if 'labels' in run_config:
    tokenizer = _load(folder / layout.AUTOENCODER, abstract)
    return load_prior(folder, tokenizer, abstract=abstract)
  module = modules.make_autoencoder(run_config)
  variables = _load_variables(
    folder,
    lambda key: modules.init_autoencoder(
      module, run_config['dataset']['image_shape'], key
    ),
    abstract,
  )
  return make_model(module, {'autoencoder': variables}, run_config)


def load_prior(
  folder: pathlib.Path, tokenizer: Model, *, abstract: bool = False
) -> Model:
  """Loads a prior of the tokens of an autoencoder, and its parent levels.

  Args:
    folder: the run folder of the prior.
    tokenizer: the autoencoder.
    abstract: see `load`.
  """
  run_config = layout.read_complete_config(folder)
  prior = modules.make_prior(run_config, tokenizer.autoencoder)
  variables = _load_variables(
    folder, lambda key: modules.init_prior(prior, key), abstract
  )
  parent = None
  if run_config['config'].get('level', 0):
    parent = load_prior(folder / layout.PARENT, tokenizer, abstract=abstract)
  return make_model(
    tokenizer.autoencoder,
    {**tokenizer.variables, 'prior': variables},
    run_config,
    autoencoder_run_config=tokenizer.run_config,
    prior=prior,
    parent=parent,
  )


def _load_critic(
  folder: pathlib.Path, run_config: Mapping[str, Any], abstract: bool
) -> Model:
  """Loads a token critic and the MaskGIT whose tokens it scores."""
  generator = _load(folder / layout.GENERATOR, abstract)
  assert generator.prior is not None
  critic = modules.make_critic(run_config, generator.prior)
  variables = _load_variables(
    folder, lambda key: modules.init_prior(critic, key), abstract
  )
  return make_model(
    generator.autoencoder,
    {**generator.variables, 'critic': variables},
    run_config,
    autoencoder_run_config=generator.autoencoder_run_config,
    prior=generator.prior,
    parent=generator.parent,
    critic=critic,
  )


def make_model(
  autoencoder: nn.Module,
  variables: Mapping[str, Any],
  run_config: Mapping[str, Any],
  *,
  autoencoder_run_config: Mapping[str, Any] | None = None,
  prior: priors.Prior | None = None,
  parent: Model | None = None,
  critic: priors.TokenCritic | None = None,
) -> Model:
  """Makes a model of modules, variables and the config of a run.

  Args:
    autoencoder: the autoencoder.
    variables: the variables of each module; see `Model`.
    run_config: the `config.json` of the run.
    autoencoder_run_config: that of the run of the autoencoder; the same by
      default.
    prior: the prior, if there is one.
    parent: the model of the parent level, in a hierarchy.
    critic: the token critic, if there is one.
  """
  if autoencoder_run_config is None:
    autoencoder_run_config = run_config
  return Model(
    autoencoder=autoencoder,
    variables=variables,
    info=_make_info(run_config, autoencoder_run_config, autoencoder, prior),
    run_config=run_config,
    autoencoder_run_config=autoencoder_run_config,
    prior=prior,
    parent=parent,
    critic=critic,
  )


def _make_info(
  run_config: Mapping[str, Any],
  autoencoder_run_config: Mapping[str, Any],
  autoencoder: nn.Module,
  prior: priors.Prior | None,
) -> inference.ModelInfo:
  """Reads the facts about a model from the config of its run."""
  data = run_config['config'].get('data', {})
  # The config of a prior that was trained on tokens has no preprocessing.
  preprocess = data.get('eval_preprocess') or (
    autoencoder_run_config['config'].get('data', {}).get('eval_preprocess', ())
  )
  return inference.ModelInfo(
    image_shape=tuple(run_config['dataset']['image_shape']),
    class_names=tuple(run_config['dataset']['class_names']),
    data=inference.TrainingData(
      source=data.get('source', 'unknown'),
      train_split=data.get('train_split', 'train'),
      eval_split=data.get('eval_split', 'test'),
      data_dir=data.get('data_dir'),
      preprocess=registry.preprocess(data.get('train_preprocess', ())),
    ),
    preprocess=registry.preprocess(preprocess),
    levels=len(autoencoder.token_grids),
    sampler=None if prior is None else make_sampler(run_config, prior),
  )


def make_sampler(
  run_config: Mapping[str, Any], prior: priors.Prior
) -> samplers.Sampler:
  """Makes the sampler that the config of a prior's run describes.

  A prior without classes is sampled without guidance.

  Raises:
    ValueError: if the sampler has no such option, or a value is out of range.
  """
  options = dict(run_config['config'].get('sampler', {}))
  if not prior.vocab.num_classes:
    options.pop('guidance', None)
  return samplers.sampler_for(prior, options)


def _load_variables(
  folder: pathlib.Path, init: Callable[[jax.Array], Any], abstract: bool
) -> dict[str, Any]:
  """Loads the variables of a run; their names and shapes must be `init`'s."""
  shapes = jax.eval_shape(init, jax.random.key(0))
  if abstract:
    return shapes
  variables, step = checkpoints.load_variables(folder)
  variables = trees.merge_strict(
    shapes,
    variables,
    source=f'the checkpoint {folder / layout.CHECKPOINTS / str(step)}',
  )
  return trees.cast_like(variables, shapes)  # an export may have bfloat16
