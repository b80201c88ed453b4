"""From a released file to a `Model`."""

import importlib
import os
import types
from typing import Any

import jax
import jax.numpy as jnp

from vq_jax import build
from vq_jax import model as model_lib
from vq_jax.convert import errors
from vq_jax.convert import llamagen
from vq_jax.convert import maskgit
from vq_jax.convert import pickles
from vq_jax.convert import rules
from vq_jax.convert import taming
from vq_jax.convert import vit_vqgan

# Each has state, which finds the arrays in what was saved; model, image_size
# and rules, which read their names and shapes; and IGNORED.
KINDS: dict[str, types.ModuleType] = {
  'llamagen-vq': llamagen,
  'maskgit-tokenizer': maskgit,
  'taming-vqgan': taming,
  'vit-vqgan': vit_vqgan,
}


def _squares(size: tuple[int, int]) -> list[dict[str, Any]]:
  """Returns what makes any image as large as those of training."""
  height, width = size
  if height != width:  # nothing published says how those came about
    return []
  return [
    {'type': 'resize', 'size': height},
    {'type': 'center_crop', 'size': height},
  ]


def _config(spec: dict[str, Any], size: tuple[int, int]) -> dict[str, Any]:
  """Returns a config as training writes it, as far as it can be known."""
  return {
    'card': {
      'task': 'autoencoder',
      'model': spec,
      'data': {
        'source': 'unknown',
        # How such models are evaluated; `vqjax tokenize` and `probe` read it.
        'eval_preprocess': _squares(size),
      },
    },
    'data': {
      'image_shape': [*size, spec['decoder']['out_channels']],
      'num_classes': 1,
      'class_names': ['all'],
    },
    # The front page stands after all its rooms, so it is not imported above.
    'vq_jax': importlib.import_module('vq_jax').__version__,
  }


def load(
  kind: str,
  path: str | os.PathLike,
  *,
  yaml: str | os.PathLike | None = None,
) -> model_lib.Model:
  """Loads the weights that others have released.

  The architecture is read off the names and shapes, so that any size of a
  kind can be loaded.

  Args:
    kind: 'llamagen-vq', 'maskgit-tokenizer', 'taming-vqgan' or 'vit-vqgan'.
    path: the file. PyTorch's are read without running what they pickle.
    yaml: the released config of a 'taming-vqgan', which tells the size of the
      images (256 x 256 by default) and is checked against the weights.

  Returns:
    The model, with a config as a run has it: `checkpoints.export(folder,
    model.config, model.variables['autoencoder'])` makes it one.

  Raises:
    ConvertError: if the file is of another kind or broken, or does not fit
      the architecture: with all names and shapes that do not.
    OSError: if it cannot be read.
    SpecError: if there is no such kind.
  """
  source = build.lookup(KINDS, kind, 'kind of checkpoint')
  if yaml is not None and source is not taming:
    raise errors.ConvertError(f'a {kind} has no YAML that could be read.')
  reading = maskgit.reading if source is maskgit else pickles.reading
  with reading(path) as tree:
    try:
      state = source.state(tree)
      spec = source.model(state)
      size = source.image_size(state)
    except errors.ConvertError as error:
      raise errors.ConvertError(f'{path} is no {kind}: {error}.') from error
    if yaml is not None:
      size = taming.read_config(yaml, spec)
    config = _config(spec, size)
    module = build.autoencoder_of(config)
    shapes = jax.eval_shape(
      lambda rng: build.init_autoencoder(module, config, rng),
      jax.random.key(0),
    )
    variables = rules.convert(
      state,
      source.rules(state),
      shapes,
      source=str(path),
      ignored=source.IGNORED,
    )
  return model_lib.Model(
    autoencoder=module,
    variables={'autoencoder': jax.tree.map(jnp.asarray, variables)},
    config=config,
    autoencoder_config=config,
  )
