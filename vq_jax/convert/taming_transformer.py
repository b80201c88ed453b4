"""The GPT of CompVis/taming-transformers: names, shapes and configs.

Its checkpoint holds the VQGAN too. A class is the token of its own number in
front of the others, so it shares a row of the table with a code; without
classes a fixed token stands there.
"""

import os
from typing import Any

import numpy as np

from vq_jax import model
from vq_jax.convert import errors
from vq_jax.convert import pickles
from vq_jax.convert import priors
from vq_jax.convert import released_configs
from vq_jax.convert import rules as rules_lib
from vq_jax.convert import states
from vq_jax.convert.rules import Rule

LANDMARK, USUAL = 'transformer.tok_emb.weight', ('', 'state_dict')
# The causal mask, and what the file holds beside the GPT.
IGNORED = r'transformer\.blocks\.\d+\.attn\.mask|first_stage_model\..*'

reading = pickles.reading

_DENSE, _NORM = rules_lib.DENSE, rules_lib.NORM


def state(tree: Any) -> dict[str, Any]:
  """Returns name -> tensor.

  Raises:
    ConvertError: if there are none.
  """
  return states.tensors(tree)


def prior(
  found: states.State,
  tokenizer: model.Model,
  *,
  yaml: str | os.PathLike | None = None,
  heads: None = None,
) -> priors.Prior:
  """Reads the architecture off the shapes and the released config.

  Args:
    found: name -> what has a shape.
    tokenizer: the VQGAN.
    yaml: the released config, which has the heads and the condition.
    heads: not needed, since the config has them.

  Raises:
    ConvertError: if the names are not those of the GPT, the file is no such
      config or contradicts the weights, or the GPT is conditioned on more than
      a class.
    OSError: if the file cannot be read.
  """
  rows, width = states.shape(found, 'transformer.tok_emb.weight', 2)
  _, places, _ = states.shape(found, 'transformer.pos_emb', 3)
  heads, classes, start = _read_config(yaml)
  (codes,) = tokenizer.autoencoder.token_grids
  h, w = codes.shape(*tokenizer.config['data']['image_shape'][:2])
  if rows < codes.codebook_size or places < h * w:
    raise errors.ConvertError(
      f'its GPT knows {rows} tokens at {places} places, and its VQGAN makes '
      f'{h * w} of {codes.codebook_size}; they do not belong together'
    )
  if classes > rows:
    raise errors.ConvertError(
      f'{yaml} tells of {classes} classes, and the GPT knows {rows} tokens'
    )
  mlp = 'transformer.blocks.0.mlp.0.weight'
  return priors.Prior(
    spec={
      'type': 'autoregressive',
      'transformer': {
        'layers': states.count(found, r'transformer\.blocks\.(\d+)\.'),
        'width': width,
        'heads': heads,
        'mlp_width': states.shape(found, mlp, 2)[0],
        'activation': 'gelu_exact',
        'epsilon': 1e-5,
        'dropout': 0.0,
      },
    },
    num_classes=classes,
    grid=(h, w),
    sampling={'top_k': min(600, codes.codebook_size), 'top_p': 0.92},
    rules=_rules(
      codes.codebook_size,
      h * w,
      classes,
      start,
      states.multiple(width, heads, 'width of the GPT'),
    ),
  )


def _rules(
  codes: int, places: int, classes: int, start: int, head: int
) -> tuple[Rule, ...]:
  """Returns the table of rules.

  Args:
    codes: number of codes.
    places: tokens of a picture.
    classes: number of classes; 0 for none.
    start: the token that stands in front then.
    head: width of a head.
  """

  def to_heads(kernel):
    kernel = rules_lib.dense_kernel(kernel)
    return kernel.reshape(len(kernel), -1, head)

  def from_heads(kernel):
    kernel = rules_lib.dense_kernel(kernel)
    return kernel.reshape(-1, head, kernel.shape[-1])

  def table(rows):
    return np.concatenate([rows[:codes], rows[:classes]])

  def place_table(x):  # nothing follows the last token, so it has no place
    return np.pad(x[0, :places], ((0, 1), (0, 0)))

  embedding = [('embedding/embedding', table)]
  if not classes:
    embedding.append(('start_vector', lambda rows: rows[start]))
  projection = {
    'weight': (('kernel', to_heads),),
    'bias': (('bias', lambda x: x.reshape(-1, head)),),
  }
  out = {**_DENSE, 'weight': (('kernel', from_heads),)}
  block, ours = r'transformer\.blocks\.(\d+)', r'stack/blocks[\1]'
  return (
    Rule(r'transformer\.tok_emb', '', {'weight': tuple(embedding)}),
    Rule(
      'transformer',
      'position_embedding',
      {'pos_emb': (('table', place_table),)},
    ),
    Rule(rf'{block}\.ln1', f'{ours}/attention_norm', _NORM),
    Rule(rf'{block}\.ln2', f'{ours}/mlp_norm', _NORM),
    *(
      Rule(rf'{block}\.attn\.{name}', f'{ours}/attention/{name}', projection)
      for name in ('query', 'key', 'value')
    ),
    Rule(rf'{block}\.attn\.proj', f'{ours}/attention/out', out),
    Rule(rf'{block}\.mlp\.0', f'{ours}/mlp_in', _DENSE),
    Rule(rf'{block}\.mlp\.2', f'{ours}/mlp_out', _DENSE),
    Rule(r'transformer\.ln_f', 'norm_out/norm', _NORM),
    Rule(
      r'transformer\.head',
      'head',
      {'weight': (('kernel', lambda x: x[:codes].T),)},
    ),
  )


def _read_config(path: str | os.PathLike | None) -> tuple[int, int, int]:
  """Returns the heads, the classes (or 0) and the token in front otherwise."""
  if path is None:
    raise errors.ConvertError(
      'its weights do not tell how many heads it has; give its YAML too'
    )
  with released_configs.reading(
    path, 'GPT', 'transformer_config.params.n_head and cond_stage_config'
  ) as fields:
    heads = int(fields['transformer_config']['params']['n_head'])
    condition = fields.get('cond_stage_config')
    alone = fields.get('unconditional', False)
    if alone or condition == '__is_unconditional__':
      return heads, 0, int(fields.get('sos_token', 0))
    target = condition['target']
    if target.endswith('.Labelator'):
      return heads, int(condition['params']['n_classes']), 0
  raise errors.ConvertError(
    f'it is conditioned on what {target} makes, as {path} says; only GPTs of '
    'classes, and those without a condition, can be converted'
  )
