"""Writing models as run folders, and fingerprints of tokenizers."""

import hashlib
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax

from vq_jax.model import Model
from vq_jax.runs import checkpoints
from vq_jax.runs import layout
from vq_jax.utils import trees


def write_run(
  folder: str | os.PathLike,
  run_config: Mapping[str, Any],
  variables: Mapping[str, Any],
  step: int = 0,
) -> None:
  """Writes a run folder for `vq_jax.load`, without training state.

  `config.json` is written last, so a folder with one is complete. With several
  processes all of them must call this function, and one writes.

  Args:
    folder: the folder to write.
    run_config: what `config.json` is to hold.
    variables: the variables of the module that it describes.
    step: the step that names the checkpoint.
  """
  variables = jax.device_get(dict(variables))
  with checkpoints.manager(folder) as manager:
    checkpoints.save(manager, step, {'variables': variables}, data=None)
    manager.wait_until_finished()
  layout.write_config(folder, run_config)


def export(model: Model, folder: str | os.PathLike) -> None:
  """Writes an autoencoder, or a prior with all it needs, as a run folder.

  Raises:
    ValueError: if the model has a critic.
  """
  if model.critic is not None:
    raise ValueError('this run is a critic; give the run of its generator.')
  if model.prior is None:
    export_autoencoder(model, folder)
    return
  write_run(
    pathlib.Path(folder) / layout.AUTOENCODER,
    model.autoencoder_run_config,
    model.variables['autoencoder'],
  )
  export_prior(model, folder)


def export_autoencoder(model: Model, folder: str | os.PathLike) -> None:
  """Writes the autoencoder alone as a run folder.

  Raises:
    ValueError: if the model has a prior.
  """
  if model.prior is not None:
    raise ValueError('this run is a prior; give the run of its autoencoder.')
  write_run(folder, model.run_config, model.variables['autoencoder'])


def export_prior(model: Model, folder: str | os.PathLike) -> None:
  """Writes a prior and its parent levels, without the autoencoder.

  Raises:
    ValueError: if the model has no prior.
  """
  if model.prior is None:
    raise ValueError('this run is an autoencoder; give the run of a prior.')
  folder = pathlib.Path(folder)
  write_run(folder, model.run_config, model.variables['prior'])
  if model.parent is not None:
    export_prior(model.parent, folder / layout.PARENT)


def export_generator(model: Model, folder: str | os.PathLike) -> None:
  """Writes a MaskGIT with its autoencoder, as a token critic needs it.

  Raises:
    ValueError: if the model has no prior, or an autoregressive one.
  """
  if model.prior is None or model.prior.causal:
    raise ValueError(
      'a token critic scores the tokens of a MaskGIT; give the run of one.'
    )
  export(model, folder)


def fingerprint(model: Model) -> str:
  """Returns a hash of the config and the weights of a model's autoencoder.

  Tokens on disk carry the fingerprint of their tokenizer, so that a prior is
  never trained on those of another.
  """
  digest = hashlib.sha256()
  spec = model.autoencoder_run_config['config']['model']
  digest.update(json.dumps(spec, sort_keys=True).encode())
  trees.update_digest(digest, model.variables['autoencoder'])
  return digest.hexdigest()
