"""The GPT of CompVis/taming-transformers: the way back from our variables."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from vq_jax.utils import trees
from vq_jax.utils.conversion import errors

_KIND = 'taming-transformer'


def invert(
  params: Mapping[str, Any], codes: int, classes: int
) -> tuple[dict[str, np.ndarray], int]:
  """Converts the parameters of an autoregressive transformer.

  Args:
    params: our parameters.
    codes: codebook size.
    classes: number of classes; 0 for an unconditional GPT.

  Returns:
    their name -> array, and the first token of an unconditional GPT.

  Raises:
    ConvertError: if the GPT has no counterpart of a parameter, or if a class
      and the code with its number have different embeddings.
  """
  ours = trees.flatten(params)
  take = ours.pop
  try:
    embedding, start = _join_tables(take, codes, classes)
    found = {
      'tok_emb.weight': embedding,
      # The last token is never an input.
      'pos_emb': take('position_embedding/table')[None, :-1],
      'ln_f.weight': take('norm_out/norm/scale'),
      'ln_f.bias': take('norm_out/norm/bias'),
      'head.weight': _pad(take('head/kernel').T, len(embedding)),
    }
    blocks = {
      name.removeprefix('stack/blocks/'): take(name)
      for name in list(ours)
      if name.startswith('stack/blocks/')
    }
    mask = np.tril(np.ones([found['pos_emb'].shape[1]] * 2, np.float32))
    for i in range(len(blocks['mlp_in/bias'])):
      block = {name: array[i] for name, array in blocks.items()}
      for name, array in _invert_block(block).items():
        found[f'blocks.{i}.{name}'] = array
      found[f'blocks.{i}.attn.mask'] = mask[None, None]
  except KeyError as error:
    raise errors.ConvertError(
      f'this model is not a {_KIND}, which has {error.args[0]}.'
    ) from error
  if ours:
    raise errors.ConvertError(
      f'this model is not a {_KIND}, which has no counterpart of '
      f'{", ".join(list(ours)[:3])}.'
    )
  return {f'transformer.{n}': np.asarray(x) for n, x in found.items()}, start


def _join_tables(take, codes: int, classes: int) -> tuple[np.ndarray, int]:
  """Returns their embedding, and the first token of an unconditional GPT."""
  table = np.asarray(take('embedding/embedding'))
  if len(table) != codes + classes:
    raise errors.ConvertError(
      f'a {_KIND} has no null class for classifier-free guidance; train with '
      '--config.loss.label_drop=0, or export with --format safetensors.'
    )
  table, labels = table[:codes], table[codes:]
  shared = min(codes, classes)
  if not np.array_equal(table[:shared], labels[:shared]):
    raise errors.ConvertError(
      f'in a {_KIND} a class and the code with the same number share an '
      'embedding; in this model they differ.'
    )
  if classes:
    return np.concatenate([table, labels[shared:]]), 0
  first = np.asarray(take('start_vector'))
  (rows,) = np.nonzero((table == first).all(axis=1))
  if not len(rows):
    raise errors.ConvertError(
      f'an unconditional {_KIND} begins with the embedding of a code; the '
      'start_vector of this model is that of none.'
    )
  return table, int(rows[0])


def _invert_block(block: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Returns their arrays of a block."""
  block = dict(block)
  found = {}
  for theirs, ours in {'ln1': 'attention_norm', 'ln2': 'mlp_norm'}.items():
    found[f'{theirs}.weight'] = block.pop(f'{ours}/scale')
    found[f'{theirs}.bias'] = block.pop(f'{ours}/bias')
  for name in ('query', 'key', 'value'):
    kernel = block.pop(f'attention/{name}/kernel')
    found[f'attn.{name}.weight'] = kernel.reshape(len(kernel), -1).T
    found[f'attn.{name}.bias'] = block.pop(f'attention/{name}/bias').reshape(-1)
  kernel = block.pop('attention/out/kernel')
  found['attn.proj.weight'] = kernel.reshape(-1, kernel.shape[-1]).T
  found['attn.proj.bias'] = block.pop('attention/out/bias')
  for theirs, ours in {'mlp.0': 'mlp_in', 'mlp.2': 'mlp_out'}.items():
    found[f'{theirs}.weight'] = block.pop(f'{ours}/kernel').T
    found[f'{theirs}.bias'] = block.pop(f'{ours}/bias')
  if block:
    raise errors.ConvertError(
      f'this model is not a {_KIND}, which has no counterpart of '
      f'{", ".join(block)}.'
    )
  return found


def _pad(rows: np.ndarray, length: int) -> np.ndarray:
  """Appends zeros for ids that are no codes."""
  return np.pad(rows, ((0, length - len(rows)), (0, 0)))


def make_config(
  found: Mapping[str, np.ndarray],
  heads: int,
  classes: int,
  start: int,
  vqgan: Mapping[str, Any],
) -> dict[str, Any]:
  """Returns a config as it is released.

  Args:
    found: the arrays, from `invert`.
    heads: number of attention heads.
    classes: number of classes.
    start: the first token of an unconditional GPT.
    vqgan: the config of the VQGAN, from `taming.make_config`.
  """
  rows, width = found['transformer.tok_emb.weight'].shape
  condition: dict[str, Any] = {
    'unconditional': True,
    'sos_token': start,
    'cond_stage_config': '__is_unconditional__',
  }
  if classes:
    condition = {
      'cond_stage_key': 'class_label',
      'cond_stage_config': {
        'target': 'taming.modules.util.Labelator',
        'params': {'n_classes': classes},
      },
    }
  transformer = {
    'vocab_size': rows,
    'block_size': found['transformer.pos_emb'].shape[1],
    'n_layer': len([n for n in found if n.endswith('.ln1.bias')]),
    'n_head': heads,
    'n_embd': width,
  }
  return {
    'model': {
      'target': 'taming.models.cond_transformer.Net2NetTransformer',
      'params': {
        'first_stage_key': 'image',
        **condition,
        'transformer_config': {
          'target': 'taming.modules.transformer.mingpt.GPT',
          'params': transformer,
        },
        'first_stage_config': dict(vqgan['model']),
      },
    }
  }
