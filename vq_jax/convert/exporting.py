"""Models in the formats of released checkpoints: the way back from `load`.

Each export is read again, and must be the same model.
"""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import yaml

from vq_jax import priors
from vq_jax.convert import loading
from vq_jax.convert import maskgit
from vq_jax.convert import maskgit_transformer
from vq_jax.convert import taming
from vq_jax.convert import taming_gpt
from vq_jax.model import Model
from vq_jax.utils import paths
from vq_jax.utils import trees
from vq_jax.utils.conversion import errors
from vq_jax.utils.conversion import inverse
from vq_jax.utils.conversion import rules
from vq_jax.utils.conversion import torch_files

FORMATS = ('maskgit', 'taming')
# The largest difference of outputs in [0, 1], or of logits, of a model that is
# computed in another order.
_TOLERANCE = 1e-3


def export(
  model: Model, folder: str | os.PathLike, format: str
) -> list[pathlib.Path]:
  """Writes a model in the format of a release.

  Args:
    model: for 'taming' a VQGAN as in CompVis/taming-transformers, or a GPT with
      it; for 'maskgit' a tokenizer as in google-research/maskgit, or a MaskGIT
      with it. Codebooks may have been trained by an exponential moving average.
    folder: the folder of the files.
    format: 'taming' writes `last.ckpt`, as `torch.save` writes it, and
      `model.yaml`; 'maskgit' writes `tokenizer_checkpoint` and, of a MaskGIT,
      `maskgit_checkpoint`.

  Returns:
    the files.

  Raises:
    ConvertError: if the format has no counterpart of a parameter, or if the
      released code would compute something else.
    ValueError: if the format is unknown.
  """
  folder = pathlib.Path(folder)
  if format == 'taming':
    return _export_taming(model, folder)
  if format == 'maskgit':
    return _export_maskgit(model, folder)
  raise ValueError(f'format must be one of {", ".join(FORMATS)}; got {format}.')


def _export_taming(model: Model, folder: pathlib.Path) -> list[pathlib.Path]:
  """Writes a VQGAN, or a GPT with it; see `export`."""
  kind, height, width = 'taming-vqgan', *model.info.image_shape[:2]
  if height != width:
    raise errors.ConvertError(
      f'a {kind} has square images; this model has {height} x {width} pixels.'
    )
  found = _invert(model, taming.RULES, taming.INVERSES, kind, '.')
  config = taming.make_config(found, height)
  if model.prior is not None:
    kind = 'taming-transformer'
    gpt, config = _invert_gpt(model, config)
    found = {f'first_stage_model.{name}': x for name, x in found.items()} | gpt
  written = [folder / 'last.ckpt', folder / 'model.yaml']
  torch_files.write(written[0], {'state_dict': found})
  paths.write_text(written[1], yaml.safe_dump(config))
  back = loading.load(kind, written[0], yaml=written[1])
  _check_autoencoder(model, back)
  if model.prior is not None:
    _check_prior(model, back)
  return written


def _invert_gpt(
  model: Model, vqgan: Mapping[str, Any]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
  """Returns the arrays and the config of a GPT."""
  if not isinstance(model.prior, priors.AutoregressiveTransformer):
    raise errors.ConvertError(
      'the prior of a taming-transformer is an AutoregressiveTransformer; this '
      f'one is a {type(model.prior).__name__}.'
    )
  vocab = model.prior.vocab
  classes = vocab.num_classes
  found, start = taming_gpt.invert(
    jax.device_get(model.variables['prior']['params']),
    vocab.codebook_size,
    classes,
  )
  heads = model.prior.transformer.heads
  config = taming_gpt.make_config(found, heads, classes, start, vqgan)
  return found, config


def _export_maskgit(model: Model, folder: pathlib.Path) -> list[pathlib.Path]:
  """Writes a tokenizer and, if there is one, its MaskGIT; see `export`."""
  encoder = model.autoencoder.encoder
  kind = 'maskgit-tokenizer'
  if not hasattr(encoder, 'multipliers'):
    raise errors.ConvertError(
      f'this model is not a {kind}: its encoder is a '
      f'{type(encoder).__name__}, not a ResNetEncoder.'
    )
  table = maskgit.make_rules(len(encoder.multipliers), encoder.blocks)
  found = _invert(model, table, maskgit.INVERSES, kind, '/')
  written = [folder / 'tokenizer_checkpoint']
  _write_flax(written[0], found)
  _check_autoencoder(model, loading.load(kind, written[0]))
  if model.vocab is None:
    return written
  if model.vocab.null_class:
    raise errors.ConvertError(
      'this prior has a null class for classifier-free guidance, which the '
      'vocabulary of the released MaskGIT lacks. Train with '
      '--config.loss.label_drop=0, or export it with --format safetensors.'
    )
  found = inverse.invert(
    _arrays(model.variables['prior']),
    maskgit_transformer.RULES,
    {rules.same: rules.same},
    separator='/',
    kind='maskgit',
  )
  written.append(folder / 'maskgit_checkpoint')
  _write_flax(written[1], found)
  back = loading.load('maskgit', tokenizer=written[0], transformer=written[1])
  _check_prior(model, back)
  return written


def _invert(model, table, inverses, kind, separator) -> dict[str, np.ndarray]:
  """Returns the arrays of an autoencoder by their released names."""
  return inverse.invert(
    _arrays(model.variables['autoencoder']),
    table,
    inverses,
    separator=separator,
    kind=kind,
  )


def _arrays(variables: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the parameters, with a codebook that no gradient trains."""
  found = trees.flatten(jax.device_get(variables['params']))
  state = trees.flatten(jax.device_get(variables.get('codebook', {})))
  if 'quantizer/codebook' in state:
    found['quantizer/codebook'] = state['quantizer/codebook']
  return trees.unflatten(found)


def _write_flax(path: pathlib.Path, found: Mapping[str, np.ndarray]) -> None:
  """Writes a msgpack file of Flax."""
  tree = {'params': trees.unflatten(found)}
  paths.write_bytes(path, flax.serialization.msgpack_serialize(tree))


def _check_autoencoder(ours: Model, theirs: Model) -> None:
  """Raises ConvertError unless both reconstruct an image equally."""
  stride = ours.autoencoder.stride
  shape = (1, 2 * stride, 2 * stride, ours.info.image_shape[-1])
  image = jax.random.uniform(jax.random.key(0), shape)
  _compare(*(_reconstruct(model, image) for model in (ours, theirs)))


def _reconstruct(model: Model, image: jax.Array) -> jax.Array:
  module = model.autoencoder.bind(model.variables['autoencoder'])
  return module.decode_indices(module.encode(image).indices)


def _check_prior(ours: Model, theirs: Model) -> None:
  """Raises ConvertError unless both predict equal logits."""
  prior = ours.prior
  assert prior is not None and theirs.prior is not None
  if theirs.vocab != prior.vocab or theirs.prior.grid != prior.grid:
    raise errors.ConvertError(
      f'this prior has the vocabulary {prior.vocab} and the grid {prior.grid}; '
      f'the released model has {theirs.vocab} and {theirs.prior.grid}.'
    )
  size = prior.vocab.codebook_size
  tokens = jnp.arange(prior.num_tokens)[None] * 7 % size
  label = jnp.zeros(1, jnp.int32) if prior.vocab.num_classes else None

  def predict(model: Model) -> Any:
    assert model.prior is not None
    return model.prior.apply(model.variables['prior'], tokens, label=label)

  _compare(predict(ours), predict(theirs))


def _compare(ours: jax.Array, theirs: jax.Array) -> None:
  """Raises ConvertError unless the outputs of both models are equal."""
  if ours.shape != theirs.shape:
    raise errors.ConvertError(
      f'the released model has outputs of shape {theirs.shape}, and this one '
      f'of {ours.shape}.'
    )
  difference = float(jnp.abs(ours - theirs).max())
  if not difference <= _TOLERANCE:
    raise errors.ConvertError(
      'the released code would compute something else with these weights; '
      f'outputs differ by {difference:.2g}. Options of this model, such as '
      'l2_normalize or value_range, are not those of the release.'
    )
