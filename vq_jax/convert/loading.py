"""From released files to a `Model`."""

import dataclasses
import os
import types
import warnings
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from vq_jax import _version
from vq_jax import model as model_lib
from vq_jax.config import modules
from vq_jax.config import registry
from vq_jax.convert import errors
from vq_jax.convert import halton_maskgit
from vq_jax.convert import llamagen
from vq_jax.convert import maskgit
from vq_jax.convert import maskgit_transformer
from vq_jax.convert import pickles
from vq_jax.convert import places
from vq_jax.convert import priors
from vq_jax.convert import rules
from vq_jax.convert import taming
from vq_jax.convert import taming_transformer
from vq_jax.convert import vit_vqgan

# Each has LANDMARK and USUAL, by which the arrays are found in what was saved;
# state, which prepares them; model, image_size and rules, which read their
# names and shapes; and IGNORED.
AUTOENCODERS: dict[str, types.ModuleType] = {
  'llamagen-vq': llamagen,
  'maskgit-tokenizer': maskgit,
  'taming-vqgan': taming,
  'vit-vqgan': vit_vqgan,
}


@dataclasses.dataclass(frozen=True)
class System:
  """A prior with the autoencoder of its codes.

  Attributes:
    autoencoder: its kind.
    transformer: has reading, LANDMARK, USUAL, state, IGNORED, and prior, which
      reads names, shapes and perhaps a config.
    one_file: whether one file holds both.
  """

  autoencoder: str
  transformer: types.ModuleType
  one_file: bool


SYSTEMS: dict[str, System] = {
  'halton-maskgit': System('llamagen-vq', halton_maskgit, False),
  'maskgit': System('maskgit-tokenizer', maskgit_transformer, False),
  'taming-transformer': System('taming-vqgan', taming_transformer, True),
}
KINDS = tuple(sorted({*AUTOENCODERS, *SYSTEMS}))


def _squares(size: Sequence[int]) -> list[dict[str, Any]]:
  """Returns what makes any image as large as those of training."""
  height, width = size
  if height != width:  # nothing published says how those came about
    return []
  return [
    {'type': 'resize', 'size': height},
    {'type': 'center_crop', 'size': height},
  ]


def _config(spec: dict[str, Any], size: Sequence[int]) -> dict[str, Any]:
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
    'vq_jax': _version.__version__,
  }


def load(
  kind: str,
  path: str | os.PathLike | None = None,
  *,
  tokenizer: str | os.PathLike | None = None,
  transformer: str | os.PathLike | None = None,
  yaml: str | os.PathLike | None = None,
  heads: int | None = None,
) -> model_lib.Model:
  """Loads the weights that others have released.

  The architecture is read off the names and shapes, so that any size of a
  kind can be loaded. The weights may lie under a key or a prefix of their own,
  also as part of a larger model; of several, averaged ones (`ema`) are taken.
  A `ConvertWarning` tells where they were, unless they are as released.

  Args:
    kind: an autoencoder, 'llamagen-vq', 'maskgit-tokenizer', 'taming-vqgan' or
      'vit-vqgan'; or a prior with its autoencoder, 'maskgit',
      'halton-maskgit' or 'taming-transformer'.
    path: the file. PyTorch's are read without running what they pickle, and
      may be safetensors as well.
    tokenizer: the file of the tokenizer of a 'maskgit' or 'halton-maskgit'
      (LlamaGen's VQ-16), which has no one path.
    transformer: that of its transformer.
    yaml: the released config. That of a 'taming-vqgan' tells the size of the
      images (256 x 256 by default) and is checked against the weights; a
      'taming-transformer' needs it.
    heads: attention heads of a 'halton-maskgit' of a size that was not
      released.

  Returns:
    The model, with a config as a run has it: `runs.export(model, folder)` makes
    it one.

  Raises:
    ConvertError: if a file is of another kind or broken, or does not fit
      the architecture: with all names and shapes that do not.
    OSError: if it cannot be read.
    SpecError: if there is no such kind.
  """
  registry.lookup({**AUTOENCODERS, **SYSTEMS}, kind, 'kind of checkpoint')
  _check_options(kind, (path, tokenizer, transformer), yaml, heads)
  if kind in AUTOENCODERS:
    model, notices = _load_autoencoder(kind, path, yaml)
  else:
    files = (tokenizer or path, transformer or path)
    model, notices = _load_system(SYSTEMS[kind], kind, *files, yaml, heads)
  for notice in notices:
    warnings.warn(notice, errors.ConvertWarning, stacklevel=2)
  return model


def _check_options(kind, files, yaml, heads) -> None:
  """Fails unless the files and options are those of the kind."""
  two = kind in SYSTEMS and not SYSTEMS[kind].one_file
  given = [file is not None for file in files]
  if given != [not two, two, two]:
    raise errors.ConvertError(
      f'a {kind} is released as two files; give tokenizer and transformer, and '
      'no other.'
      if two
      else f'a {kind} is released as one file; give that, and no tokenizer or '
      'transformer.'
    )
  if yaml is not None and not kind.startswith('taming'):
    raise errors.ConvertError(f'a {kind} has no YAML that could be read.')
  if heads is not None and kind != 'halton-maskgit':
    raise errors.ConvertError(
      f'only a halton-maskgit needs heads, not a {kind}.'
    )


def _load_autoencoder(kind, path, yaml) -> tuple[model_lib.Model, list[str]]:
  """Returns the model, and what is to be told of its file."""
  source = AUTOENCODERS[kind]
  reading = maskgit.reading if source is maskgit else pickles.reading
  with reading(path) as tree:
    try:
      found = places.find(tree, source.LANDMARK, source.USUAL)
      state = source.state(found.tree)
      spec = source.model(state)
      size = source.image_size(state)
    except errors.ConvertError as error:
      raise errors.ConvertError(f'{path} is no {kind}: {error}.') from error
    if yaml is not None:
      size = taming.read_config(yaml, spec)
    config = _config(spec, size)
    module = modules.make_autoencoder(config)
    variables = _converted(
      state,
      source.rules(state),
      lambda rng: modules.init_autoencoder(module, config, rng),
      path,
      source.IGNORED,
    )
  model = model_lib.Model(
    autoencoder=module,
    variables={'autoencoder': variables},
    config=config,
    autoencoder_config=config,
  )
  return model, _told(path, found)


def _load_system(
  system: System, kind, tokenizer, transformer, yaml, heads
) -> tuple[model_lib.Model, list[str]]:
  """Returns the model, and what is to be told of its files."""
  inner, notices = _load_autoencoder(system.autoencoder, tokenizer, yaml)
  source = system.transformer
  with source.reading(transformer) as tree:
    try:
      found = places.find(tree, source.LANDMARK, source.USUAL)
      state = source.state(found.tree)
      read = source.prior(state, inner, yaml=yaml, heads=heads)
    except errors.ConvertError as error:
      raise errors.ConvertError(
        f'{transformer} is no transformer of a {kind}: {error}.'
      ) from error
    stride = inner.autoencoder.stride
    own = _config(
      inner.config['card']['model'], [stride * n for n in read.grid]
    )
    config = _prior_config(read, own)
    prior = modules.make_prior(config, inner.autoencoder)
    variables = _converted(
      state,
      read.rules,
      lambda rng: modules.init_prior(prior, rng),
      transformer,
      source.IGNORED,
    )
  model = model_lib.Model(
    autoencoder=inner.autoencoder,
    prior=prior,
    vocab=prior.vocab,
    variables={**inner.variables, 'prior': variables},
    config=config,
    autoencoder_config=own,
  )
  if system.one_file:  # where the autoencoder lies beside the prior
    notices = []
  return model, notices + _told(transformer, found)


def _told(path: str | os.PathLike, found: places.Found) -> list[str]:
  return [f'{path}: {found.notice}'] if found.notice else []


def _converted(state, rules_of, init, path, ignored) -> dict[str, Any]:
  """Returns the variables that `init` makes, as the file has them."""
  variables = rules.convert(
    state,
    rules_of,
    jax.eval_shape(init, jax.random.key(0)),
    source=str(path),
    ignored=ignored,
  )
  return jax.tree.map(jnp.asarray, variables)


def _prior_config(
  read: priors.Prior, autoencoder: dict[str, Any]
) -> dict[str, Any]:
  """Returns a config of a prior's run; see `_config`."""
  classes = max(read.num_classes, 1)
  is_maskgit = read.spec['type'] == 'maskgit'
  return {
    'card': {
      'task': 'maskgit' if is_maskgit else 'autoregressive',
      'conditional': bool(read.num_classes),
      'model': dict(read.spec),
      'data': autoencoder['card']['data'],
      'sampler': dict(read.sampling),
    },
    'data': {
      **autoencoder['data'],
      'num_classes': classes,
      'class_names': [str(i) for i in range(classes)],
    },
    'labels': {
      'num_classes': read.num_classes,
      'null_class': read.null_class,
    },
    'vq_jax': autoencoder['vq_jax'],
  }
