"""From a name to a class: the one table of all types, and `build`.

A spec is a mapping `{'type': name, **fields}`, as configs write it. Fields
that are themselves specs (`encoder`, `quantizer`, ...) are built first;
`dtype`, `param_dtype` and initializers (`codebook_init`, ...) may be names.
"""

import dataclasses
import inspect
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any
from typing import cast

import jax.numpy as jnp

from vq_jax import autoencoders
from vq_jax import discriminators
from vq_jax import losses
from vq_jax import priors
from vq_jax import quantizers
from vq_jax.data import preprocessing
from vq_jax.layers import initializers
from vq_jax.layers import transformer
from vq_jax.utils import fields as fields_lib
from vq_jax.utils import names

REGISTRY: dict[str, dict[str, Callable]] = {
  'autoencoder': {
    'ae': autoencoders.AE,
    'llamagen_vq16': autoencoders.llamagen_vq16,
    'maskgit_tokenizer': autoencoders.maskgit_tokenizer,
    'vae': autoencoders.VAE,
    'vit_vqgan': autoencoders.vit_vqgan,
    'vqgan_taming': autoencoders.vqgan_taming,
    'vqvae': autoencoders.VQVAE,
    'vqvae2': autoencoders.VQVAE2,
    'vqvae_2017': autoencoders.vqvae_2017,
    'vqvae_sonnet': autoencoders.vqvae_sonnet,
  },
  'encoder': {
    'conv_encoder': autoencoders.ConvEncoder,
    'patch_encoder': autoencoders.PatchEncoder,
    'resnet_encoder': autoencoders.ResNetEncoder,
    'vit_encoder': autoencoders.ViTEncoder,
  },
  'decoder': {
    'conv_decoder': autoencoders.ConvDecoder,
    'patch_decoder': autoencoders.PatchDecoder,
    'resnet_decoder': autoencoders.ResNetDecoder,
    'vit_decoder': autoencoders.ViTDecoder,
  },
  'discriminator': {
    'patchgan': discriminators.PatchGAN,
    'stylegan': discriminators.StyleGAN,
  },
  'likelihood': {
    'bernoulli': autoencoders.Bernoulli,
    'discretized_logistic': autoencoders.DiscretizedLogistic,
    'gaussian': autoencoders.Gaussian,
    'logistic_mixture': autoencoders.LogisticMixture,
    'logit_laplace': autoencoders.LogitLaplace,
    'pixelwise_logistic': autoencoders.PixelwiseLogistic,
  },
  'quantizer': {
    'bsq': quantizers.BSQ,
    'ema_vq': quantizers.EMAVectorQuantizer,
    'factorized_vq': quantizers.FactorizedVectorQuantizer,
    'fsq': quantizers.FSQ,
    'grouped': quantizers.GroupedQuantizer,
    'gumbel': quantizers.GumbelQuantizer,
    'ibq': quantizers.IBQ,
    'lfq': quantizers.LFQ,
    'residual': quantizers.ResidualQuantizer,
    'simvq': quantizers.SimVQ,
    'vq': quantizers.VectorQuantizer,
  },
  'prior': {
    'autoregressive': priors.AutoregressiveTransformer,
    'maskgit': priors.MaskGIT,
    'pixelcnn': priors.PixelCNN,
    'pixelsnail': priors.PixelSNAIL,
  },
  'critic': {
    'token_critic': priors.TokenCritic,
  },
  'preprocessing': {
    'center_crop': preprocessing.CenterCrop,
    'channels': preprocessing.Channels,
    'random_crop': preprocessing.RandomCrop,
    'random_flip': preprocessing.RandomFlip,
    'random_resize': preprocessing.RandomResize,
    'random_resized_crop': preprocessing.RandomResizedCrop,
    'resize': preprocessing.Resize,
  },
}

ADVERSARIAL_LOSSES: dict[str, Callable] = {
  'hinge': losses.Hinge,
  'non_saturating': losses.NonSaturating,
  'vanilla': losses.Vanilla,
}

# Of the fields `codebook_init`, `kernel_init`, ...
INITIALIZERS = initializers.BY_NAME

# Fields that a spec gives by the name of a dtype.
DTYPE_FIELDS = ('dtype', 'param_dtype')

# Fields that hold a config: a spec gives the values that differ from those of
# the default.
CONFIGS: dict[str, type] = {'transformer': transformer.TransformerConfig}

# Fields that flax.linen.Module adds, that only a mesh may set, and that follow
# from the parent level.
_NOT_IN_A_SPEC = (
  'parent',
  'name',
  'axis_name',
  'parent_codebook_size',
  'parent_grid',
)


class SpecError(ValueError):
  """A spec names something that does not exist."""


def lookup(table: Mapping[str, Any], name: Any, what: str) -> Any:
  """Returns `table[name]`.

  Raises:
    SpecError: if there is no such name; lists those there are.
  """
  return names.lookup(table, name, what, error=SpecError)


def get_factory(kind: str, name: str) -> Callable:
  """Returns the class or function that a type of a spec names.

  Args:
    kind: a key of `REGISTRY`.
    name: a short name of that table, or 'package.module:Class' for a class of
      one's own.

  Raises:
    SpecError: if there is no such type, or it cannot be imported.
  """
  if not isinstance(name, str) or ':' not in name:
    return lookup(REGISTRY[kind], name, f'{kind} type')
  try:
    return names.import_by_path(name)
  except ImportError as error:
    raise SpecError(f'{kind} type {name!r} cannot be imported: {error}') from (
      error
    )


def get_field_names(factory: Callable) -> list[str]:
  """Returns the names of the fields that a spec may set."""
  parameters = inspect.signature(factory).parameters
  return [name for name in parameters if name not in _NOT_IN_A_SPEC]


def build(
  kind: str, spec: Mapping[str, Any], *, path: str = 'model', **extra: Any
) -> Any:
  """Builds what a spec describes.

  Args:
    kind: a key of `REGISTRY`.
    spec: `{'type': name, **fields}`; see `get_factory` for the name.
    path: of the spec in the config, for messages.
    **extra: fields that no config can know, such as the vocabulary.

  Raises:
    SpecError: if the type or a field is unknown, or a needed one is missing.
  """
  fields = dict(spec)
  if 'type' not in fields:
    raise SpecError(
      f"the {kind} spec has no 'type'. Valid: {', '.join(REGISTRY[kind])}."
    )
  name = fields.pop('type')
  factory = get_factory(kind, name)
  parameters = inspect.signature(factory).parameters
  valid = [p for p in get_field_names(factory) if p not in extra]
  for field, value in fields.items():
    if field not in valid:
      raise SpecError(names.unknown(f'field of {kind} {name!r}', field, valid))
    at = f'{path}.{field}'
    if field in CONFIGS:
      fields[field] = _config(field, value, parameters[field].default, at)
    else:
      fields[field] = _value(field, value, at)
  fields_lib.check_arguments(
    factory, fields, where=f'{kind} {name!r}: ', error=SpecError
  )
  missing = [
    p
    for p in valid
    if parameters[p].default is inspect.Parameter.empty and p not in fields
  ]
  if missing:
    raise SpecError(f'{kind} {name!r} needs the field(s) {", ".join(missing)}.')
  return factory(**fields, **extra)


def _config(field: str, value: Any, default: Any, path: str) -> Any:
  """Returns the default config with the given values.

  Without a default config, the checked values themselves are returned.
  """
  cls = CONFIGS[field]
  if isinstance(value, cls):
    return value
  if not isinstance(value, Mapping):
    raise SpecError(
      f'{path} must be a mapping of fields of {cls.__name__}; got '
      f'{fields_lib.format_value(value)}.'
    )
  valid = [f.name for f in dataclasses.fields(cls)]
  for name in value:
    if name not in valid:
      raise SpecError(names.unknown(f'field of {path}', name, valid))
  given = fields_lib.check_arguments(
    cls,
    {name: _value(name, x, f'{path}.{name}') for name, x in value.items()},
    where=f'{path}.',
    error=SpecError,
  )
  if isinstance(default, cls):
    return dataclasses.replace(cast(Any, default), **given)
  return given


def _value(field: str, value: Any, path: str) -> Any:
  if field in REGISTRY and isinstance(value, Mapping):
    return build(field, value, path=path)
  if field.endswith('_init') and not callable(value):
    return lookup(INITIALIZERS, value, field)
  if field in DTYPE_FIELDS and isinstance(value, str):
    try:
      return jnp.dtype(value)
    except TypeError as error:
      raise SpecError(
        f'unknown {field} {value!r}; give float32, bfloat16 or float16.'
      ) from error
  return tuple(value) if isinstance(value, list) else value


def preprocess(specs: Iterable[Mapping[str, Any]]) -> tuple:
  """Builds a sequence of preprocessing operations."""
  return tuple(build('preprocessing', spec) for spec in specs)
