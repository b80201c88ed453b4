"""The transformer of valeoai/Halton-MaskGIT: names and shapes.

Two pairs of arrays are combined, which changes no output: scale and bias of a
norm with the adaptive LayerNorm that follows it, and the embeddings of tokens
and classes.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from vq_jax import model
from vq_jax.convert import priors
from vq_jax.utils.conversion import errors
from vq_jax.utils.conversion import pickles
from vq_jax.utils.conversion import rules as rules_lib
from vq_jax.utils.conversion import states
from vq_jax.utils.conversion.rules import Rule

# The embedding of tokens once more, and an array that only tells the number of
# classes.
LANDMARK, USUAL = 'tok_emb.weight', ('', 'model_state_dict')
IGNORED = r'head\.weight|tables\.classes'

reading = pickles.reading

# (layers, width) of the released sizes -> heads, which no shape tells.
_HEADS = {(6, 384): 6, (12, 512): 6, (12, 768): 12, (24, 1024): 16}
# The common fields of all sizes, and their sampler options.
_TRANSFORMER = {
  'norm': 'pre',
  'norm_type': 'rms',
  'bias': False,
  'qk_norm': 'width',
  'activation': 'swiglu',
  'epsilon': 1e-5,
  'embedding_dropout': 0.0,
  'broadcast_dropout': False,
  'mlp_dropout': 'hidden',
}
_PRIOR = {
  'conditioning': 'adaln_zero',
  'embedding_norm': False,
  'head': 'norm',
}
_SAMPLER = {
  'steps': 32,
  'schedule': 'arccos',
  'rounding': 'decided',
  'order': 'halton',
  'logit_scale': 1.2,
  'guidance': 0.7,
  'guidance_schedule': 'constant',
}


def state(tree: Any) -> dict[str, Any]:
  """Returns name -> array, with norms and embeddings combined.

  Raises:
    ConvertError: if there are no tensors, or they have other names.
  """
  tensors = states.tensors(tree)
  if 'in_proj.weight' in tensors:
    raise errors.ConvertError(
      'it merges four tokens into one (in_proj), which is not supported'
    )
  found = {name: x.numpy().astype(np.float32) for name, x in tensors.items()}
  _fold_tables(found)
  for i in range(states.count(found, r'transformer\.layers\.(\d+)\.')):
    at = f'transformer.layers.{i}'
    parts = _adaln(found, f'{at}.mlp.1', 6)
    for first, norm in ((0, f'{at}.ln1'), (3, f'{at}.ln2')):
      _fold_norm(parts, first, _taken(found, f'{norm}.weight', 1), None)
    _set_adaln(found, f'{at}.mlp.1', parts)
  parts = _adaln(found, 'last_norm.mlp.1', 2)
  norm = 'last_norm.norm_final'
  scale, bias = (_taken(found, f'{norm}.{x}', 1) for x in ('weight', 'bias'))
  _fold_norm(parts, 0, scale, bias)
  _set_adaln(found, 'last_norm.mlp.1', parts)
  return found


def _taken(found: dict[str, np.ndarray], name: str, rank: int) -> np.ndarray:
  """Removes an array and returns it."""
  states.shape(found, name, rank)
  return found.pop(name)


def _fold_tables(found: dict[str, np.ndarray]) -> None:
  """Combines the embeddings of tokens and classes, and pads the bias."""
  codes = _taken(found, 'tok_emb.weight', 2)
  classes = _taken(found, 'cls_emb.weight', 2)
  bias = _taken(found, 'head.bias', 1)
  if codes.shape[1] != classes.shape[1] or len(bias) != len(codes):
    raise errors.ConvertError(
      f'tok_emb {codes.shape}, cls_emb {classes.shape} and head.bias '
      f'{bias.shape} do not fit each other'
    )
  found['tables.classes'] = classes  # for their number
  found['tables.embedding'] = np.concatenate([codes[:-1], classes, codes[-1:]])
  zeros = np.zeros(len(classes), np.float32)
  found['tables.bias'] = np.concatenate([bias[:-1], zeros, bias[-1:]])


def _adaln(
  found: Mapping[str, np.ndarray], name: str, parts: int
) -> list[list[np.ndarray]]:
  """Returns the kernel [D, D'] and bias [D'] of each part: shift, scale, ..."""
  rows, _ = states.shape(found, f'{name}.weight', 2)
  states.shape(found, f'{name}.bias', 1)
  states.multiple(rows, parts, f'rows of {name}')
  kernels = np.split(found[f'{name}.weight'].T, parts, axis=1)
  biases = np.split(found[f'{name}.bias'], parts)
  return [[kernel, bias] for kernel, bias in zip(kernels, biases, strict=True)]


def _fold_norm(parts, first: int, weight, bias) -> None:
  """Folds weight and bias of a norm into the shift and the scale after it.

  (n w + b) (1 + s) + t = n (1 + s') + t' with s' = w (1 + s) - 1 and
  t' = b (1 + s) + t, where s and t are linear in the condition.
  """
  (shift_kernel, shift_bias), (scale_kernel, scale_bias) = parts[
    first : first + 2
  ]
  if bias is not None:
    shift_kernel = shift_kernel + bias[None] * scale_kernel
    shift_bias = shift_bias + bias * (1 + scale_bias)
  parts[first] = [shift_kernel, shift_bias]
  parts[first + 1] = [
    weight[None] * scale_kernel,
    weight * (1 + scale_bias) - 1,
  ]


def _set_adaln(found, name, parts) -> None:
  found[f'{name}.weight'] = np.concatenate([k for k, _ in parts], axis=1).T
  found[f'{name}.bias'] = np.concatenate([bias for _, bias in parts])


def prior(
  found: states.State,
  tokenizer: model.Model,
  *,
  yaml: None = None,
  heads: int | None = None,
) -> priors.Prior:
  """Infers the architecture from the shapes.

  Args:
    found: name -> array, from `state`.
    tokenizer: the tokenizer of its tokens.
    yaml: None.
    heads: None for the released sizes.

  Raises:
    ConvertError: if names or codebook size do not fit, or the number of heads
      is not known.
  """
  del yaml  # There is none.
  (tokens,) = tokenizer.autoencoder.token_grids
  classes, width = found['tables.classes'].shape
  size = len(found['tables.embedding']) - classes - 1
  if size != tokens.codebook_size:
    raise errors.ConvertError(
      f'its codebook size is {size} and that of the tokenizer '
      f'{tokens.codebook_size}; they do not belong together'
    )
  layers = states.count(found, r'transformer\.layers\.(\d+)\.')
  if not (heads := heads or _HEADS.get((layers, width))):
    raise errors.ConvertError(
      f'its weights do not tell the number of heads of {layers} layers of '
      f'width {width}; give heads'
    )
  inner, _ = states.shape(found, 'transformer.layers.0.attn.wq.weight', 2)
  mlp, _ = states.shape(found, 'transformer.layers.0.ff.w1.weight', 2)
  length, _ = states.shape(found, 'pos_emb.weight', 2)
  registers = len(found.get('reg_tokens.weight', ()))
  head_dim = states.multiple(inner, heads, 'width of the attention')
  return priors.Prior(
    spec={
      'type': 'maskgit',
      'transformer': {
        'layers': layers,
        'width': width,
        'heads': heads,
        'head_dim': head_dim,
        'mlp_width': mlp,
        **_TRANSFORMER,
      },
      'registers': registers,
      **_PRIOR,
    },
    num_classes=classes - 1,
    null_class=True,
    grid=priors.square(length),
    sampler=_SAMPLER,
    rules=_rules(registers, head_dim),
  )


def _rules(registers: int, head_dim: int) -> tuple[Rule, ...]:
  """Returns the table of rules."""

  def to_heads(kernel):
    return kernel.T.reshape(kernel.shape[1], -1, head_dim)

  def from_heads(kernel):
    return kernel.T.reshape(-1, head_dim, len(kernel))

  def weight(name, transform=rules_lib.same):
    return {'weight': ((name, transform),)}

  def position_table(x):  # registers have no positions
    return np.pad(x, ((registers, 0), (0, 0)))

  block, ours = r'transformer\.layers\.(\d+)', r'stack/blocks[\1]'
  dense = rules_lib.DENSE
  return (
    Rule(
      'tables',
      '',
      {
        'embedding': (('embedding/embedding', rules_lib.same),),
        'bias': (('bias_out', rules_lib.same),),
      },
    ),
    Rule(r'pos_emb', 'position_embedding', weight('table', position_table)),
    Rule(r'reg_tokens', '', weight('register')),
    *(
      Rule(
        rf'{block}\.attn\.w{name[0]}',
        f'{ours}/attention/{name}',
        weight('kernel', to_heads),
      )
      for name in ('query', 'key', 'value')
    ),
    Rule(
      rf'{block}\.attn\.wo',
      f'{ours}/attention/out',
      weight('kernel', from_heads),
    ),
    Rule(rf'{block}\.mlp\.1', f'{ours}/adaln/dense', dense),
    Rule(rf'{block}\.ff\.w1', f'{ours}/mlp_in', dense),
    Rule(rf'{block}\.ff\.w2', f'{ours}/mlp_out', dense),
    Rule(rf'{block}\.ff\.w3', f'{ours}/mlp_gate', dense),
    Rule(r'last_norm\.mlp\.1', 'norm_out/adaln/dense', dense),
  )
