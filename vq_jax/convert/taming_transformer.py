"""The GPT of CompVis/taming-transformers: names, shapes and configs.

Its checkpoint contains the VQGAN too. The label is prepended as the token with
the same number, so that a class and a code share a row of the embedding; an
unconditional GPT begins with a fixed token.
"""

import os
from typing import Any

import numpy as np

from vq_jax import model
from vq_jax.convert import priors
from vq_jax.convert import released_configs
from vq_jax.utils.conversion import errors
from vq_jax.utils.conversion import pickles
from vq_jax.utils.conversion import rules as rules_lib
from vq_jax.utils.conversion import states
from vq_jax.utils.conversion.rules import Rule

LANDMARK, USUAL = 'transformer.tok_emb.weight', ('', 'state_dict')
# The causal mask, and the other parts of the file.
IGNORED = r'transformer\.blocks\.\d+\.attn\.mask|first_stage_model\..*'

reading = pickles.reading

_DENSE, _NORM = rules_lib.DENSE, rules_lib.NORM


def state(tree: Any) -> dict[str, Any]:
  """Returns name -> tensor.

  Raises:
    ConvertError: if there are no tensors.
  """
  return states.tensors(tree)


def prior(
  found: states.State,
  tokenizer: model.Model,
  *,
  yaml: str | os.PathLike | None = None,
  heads: None = None,
) -> priors.Prior:
  """Infers the architecture from the shapes and the released config.

  Args:
    found: name -> object with a shape.
    tokenizer: the VQGAN.
    yaml: the released config, which has the heads and the condition.
    heads: not needed, since the config has them.

  Raises:
    ConvertError: if names or config are of another kind or contradict each
      other, or if the GPT is conditioned on more than a class.
    OSError: if the file cannot be read.
  """
  rows, width = states.shape(found, 'transformer.tok_emb.weight', 2)
  _, length, _ = states.shape(found, 'transformer.pos_emb', 3)
  num_heads, classes, start = _read_config(yaml)
  (tokens,) = tokenizer.autoencoder.token_grids
  h, w = tokens.shape(*tokenizer.info.image_shape[:2])
  if rows < tokens.codebook_size or length < h * w:
    raise errors.ConvertError(
      f'its GPT has {rows} tokens and {length} positions, and its VQGAN '
      f'{tokens.codebook_size} codes and {h * w} positions; they do not belong '
      'together'
    )
  if classes > rows:
    raise errors.ConvertError(
      f'{yaml} has {classes} classes, and the GPT {rows} tokens'
    )
  mlp = 'transformer.blocks.0.mlp.0.weight'
  return priors.Prior(
    spec={
      'type': 'autoregressive',
      'transformer': {
        'layers': states.count(found, r'transformer\.blocks\.(\d+)\.'),
        'width': width,
        'heads': num_heads,
        'mlp_width': states.shape(found, mlp, 2)[0],
        'activation': 'gelu_exact',
        'epsilon': 1e-5,
        'dropout': 0.0,
      },
    },
    num_classes=classes,
    grid=(h, w),
    sampler={'top_k': min(600, tokens.codebook_size), 'top_p': 0.92},
    rules=_rules(
      tokens.codebook_size,
      h * w,
      classes,
      start,
      states.multiple(width, num_heads, 'width of the GPT'),
    ),
  )


def _rules(
  codes: int, length: int, classes: int, start: int, head: int
) -> tuple[Rule, ...]:
  """Returns the table of rules.

  Args:
    codes: codebook size.
    length: number of tokens of an image.
    classes: number of classes; 0 for an unconditional GPT.
    start: the first token of an unconditional GPT.
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

  def position_table(x):  # the last token is never an input
    return np.pad(x[0, :length], ((0, 1), (0, 0)))

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
      {'pos_emb': (('table', position_table),)},
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
  """Returns the numbers of heads and classes, and the start token."""
  if path is None:
    raise errors.ConvertError(
      'the weights do not tell the number of heads; give the YAML file too'
    )
  with released_configs.reading(
    path, 'GPT', 'transformer_config.params.n_head and cond_stage_config'
  ) as fields:
    heads = int(fields['transformer_config']['params']['n_head'])
    condition: Any = fields.get('cond_stage_config')
    alone = fields.get('unconditional', False)
    if alone or condition == '__is_unconditional__':
      return heads, 0, int(fields.get('sos_token', 0))
    target = condition['target']
    if target.endswith('.Labelator'):
      return heads, int(condition['params']['n_classes']), 0
  raise errors.ConvertError(
    f'it is conditioned by {target}, according to {path}; only unconditional '
    'and class-conditional GPTs can be converted'
  )
