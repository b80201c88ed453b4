"""Loading of released files as a `Model`."""

import dataclasses
import os
import types
import warnings
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from vq_jax import _version
from vq_jax.config import modules
from vq_jax.config import registry
from vq_jax.convert import halton_maskgit
from vq_jax.convert import llamagen
from vq_jax.convert import maskgit
from vq_jax.convert import maskgit_transformer
from vq_jax.convert import priors
from vq_jax.convert import taming
from vq_jax.convert import taming_transformer
from vq_jax.convert import vit_vqgan
from vq_jax.model import Model
from vq_jax.runs.load import make_model
from vq_jax.utils.conversion import errors
from vq_jax.utils.conversion import locations
from vq_jax.utils.conversion import pickles
from vq_jax.utils.conversion import rules

# Each module has LANDMARK and USUAL, by which the arrays are located in a
# checkpoint; `state`, which prepares them; `model`, `image_size` and `rules`,
# which depend on their names and shapes; and IGNORED.
AUTOENCODERS: dict[str, types.ModuleType] = {
  'llamagen-vq': llamagen,
  'maskgit-tokenizer': maskgit,
  'taming-vqgan': taming,
  'vit-vqgan': vit_vqgan,
}


@dataclasses.dataclass(frozen=True)
class System:
  """A prior and its autoencoder.

  Attributes:
    autoencoder: kind of the autoencoder.
    transformer: a module with `reading`, LANDMARK, USUAL, `state`, IGNORED and
      `prior`, which infers the architecture.
    one_file: whether one file contains both.
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


def _eval_preprocess(size: Sequence[int]) -> list[dict[str, Any]]:
  """Returns preprocessing that gives images the size of the training images."""
  height, width = size
  if height != width:  # The preprocessing is not published.
    return []
  return [
    {'type': 'resize', 'size': height},
    {'type': 'center_crop', 'size': height},
  ]


def _run_config(spec: dict[str, Any], size: Sequence[int]) -> dict[str, Any]:
  """Returns the `config.json` of a training run, as far as it is known."""
  return {
    'config': {
      'task': 'autoencoder',
      'model': spec,
      'data': {
        'source': 'unknown',
        # `vqjax tokenize` and `vqjax probe` use it.
        'eval_preprocess': _eval_preprocess(size),
      },
    },
    'dataset': {
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
) -> Model:
  """Loads a released checkpoint.

  The architecture is inferred from names and shapes, so any size of a kind can
  be loaded. The weights may be under a key or a prefix, also as part of a
  larger model; if there are several, averaged ones (`ema`) are used. A
  `ConvertWarning` reports their location unless it is that of the release.

  Args:
    kind: an autoencoder, 'llamagen-vq', 'maskgit-tokenizer', 'taming-vqgan' or
      'vit-vqgan'; or a prior with its autoencoder, 'maskgit',
      'halton-maskgit' or 'taming-transformer'.
    path: the file, for kinds with one file. PyTorch files are read without
      executing pickled code, and may be in safetensors format.
    tokenizer: the file of the tokenizer, for 'maskgit' and 'halton-maskgit'
      (LlamaGen's VQ-16).
    transformer: the file of the transformer, for the same kinds.
    yaml: the released config. For a 'taming-vqgan' it is optional, determines
      the image size (256 x 256 by default) and is checked against the weights;
      a 'taming-transformer' needs it.
    heads: attention heads, for a 'halton-maskgit' of a size that was not
      released.

  Returns:
    the model, which `runs.export.export` writes as a run folder.

  Raises:
    ConvertError: if a file is damaged or of another kind, or does not fit the
      architecture; the message lists all names and shapes that do not fit.
    OSError: if a file cannot be read.
    SpecError: if the kind is unknown.
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
  """Raises ConvertError unless files and options fit the kind."""
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


def _load_autoencoder(kind, path, yaml) -> tuple[Model, list[str]]:
  """Returns the model and notices about its file."""
  source = AUTOENCODERS[kind]
  reading = maskgit.reading if source is maskgit else pickles.reading
  with reading(path) as tree:
    try:
      found = locations.find(tree, source.LANDMARK, source.USUAL)
      state = source.state(found.tree)
      spec = source.model(state)
      size = source.image_size(state)
    except errors.ConvertError as error:
      raise errors.ConvertError(f'{path} is no {kind}: {error}.') from error
    if yaml is not None:
      size = taming.read_config(yaml, spec)
    run_config = _run_config(spec, size)
    module = modules.make_autoencoder(run_config)
    variables = _convert(
      state,
      source.rules(state),
      lambda rng: modules.init_autoencoder(
        module, run_config['dataset']['image_shape'], rng
      ),
      path,
      source.IGNORED,
    )
  model = make_model(module, {'autoencoder': variables}, run_config)
  return model, _notices(path, found)


def _load_system(
  system: System, kind, tokenizer, transformer, yaml, heads
) -> tuple[Model, list[str]]:
  """Returns the model and notices about its files."""
  inner, notices = _load_autoencoder(system.autoencoder, tokenizer, yaml)
  source = system.transformer
  with source.reading(transformer) as tree:
    try:
      found = locations.find(tree, source.LANDMARK, source.USUAL)
      state = source.state(found.tree)
      read = source.prior(state, inner, yaml=yaml, heads=heads)
    except errors.ConvertError as error:
      raise errors.ConvertError(
        f'{transformer} is no transformer of a {kind}: {error}.'
      ) from error
    stride = inner.autoencoder.stride
    own = _run_config(inner.config['model'], [stride * n for n in read.grid])
    run_config = _prior_run_config(read, own)
    prior = modules.make_prior(run_config, inner.autoencoder)
    variables = _convert(
      state,
      read.rules,
      lambda rng: modules.init_prior(prior, rng),
      transformer,
      source.IGNORED,
    )
  model = make_model(
    inner.autoencoder,
    {**inner.variables, 'prior': variables},
    run_config,
    autoencoder_run_config=own,
    prior=prior,
  )
  if system.one_file:  # The prior's notice names the location of both.
    notices = []
  return model, notices + _notices(transformer, found)


def _notices(path: str | os.PathLike, found: locations.Found) -> list[str]:
  return [f'{path}: {found.notice}'] if found.notice else []


def _convert(state, table, init, path, ignored) -> dict[str, Any]:
  """Returns the variables of the module with the arrays of the file."""
  variables = rules.convert(
    state,
    table,
    jax.eval_shape(init, jax.random.key(0)),
    source=str(path),
    ignored=ignored,
  )
  return jax.tree.map(jnp.asarray, variables)


def _prior_run_config(
  read: priors.Prior, autoencoder: dict[str, Any]
) -> dict[str, Any]:
  """Returns the config of a training run of a prior; see `_run_config`."""
  classes = max(read.num_classes, 1)
  is_maskgit = read.spec['type'] == 'maskgit'
  return {
    'config': {
      'task': 'maskgit' if is_maskgit else 'autoregressive',
      'conditional': bool(read.num_classes),
      'model': dict(read.spec),
      'data': autoencoder['config']['data'],
      'sampler': dict(read.sampler),
    },
    'dataset': {
      **autoencoder['dataset'],
      'num_classes': classes,
      'class_names': [str(i) for i in range(classes)],
    },
    'labels': {
      'num_classes': read.num_classes,
      'null_class': read.null_class,
    },
    'vq_jax': autoencoder['vq_jax'],
  }
