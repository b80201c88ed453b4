"""ViT-VQGAN of thuanz123/enhancing-transformers: names and shapes.

What the weights do not determine is that of the released configs: l2-normalised
codes, one index per token, and no Gumbel noise.
"""

import re
from typing import Any

import numpy as np

from vq_jax.autoencoders import vit_presets
from vq_jax.layers import positions
from vq_jax.utils.conversion import errors
from vq_jax.utils.conversion import rules as rules_lib
from vq_jax.utils.conversion import states
from vq_jax.utils.conversion.rules import Rule

_HEAD_DIM = 64  # for all widths
_POSITIONS = ('encoder.en_pos_embedding', 'decoder.de_pos_embedding')
LANDMARK = 'encoder.to_patch_embedding.0.weight'
USUAL = ('', 'state_dict')
# Our positions are computed; `image_size` checks that they are equal.
IGNORED = r'loss\..*|' + '|'.join(map(re.escape, _POSITIONS))


def _projection(part: int):
  """[3 * heads * 64, D] to [D, heads, 64] of queries, keys or values."""

  def kernel(x):
    if x.ndim != 2 or len(x) % (3 * _HEAD_DIM):
      raise ValueError(f'{x.shape} holds no three projections of heads of 64')
    projection = np.split(x, 3)[part]
    return projection.T.reshape(x.shape[1], -1, _HEAD_DIM)

  return kernel


_QKV = {
  'weight': tuple(
    (f'{name}/kernel', _projection(i))
    for i, name in enumerate(('query', 'key', 'value'))
  )
}


def _from_heads(x):
  """[D, heads * 64] to [heads, 64, D]."""
  return rules_lib.dense_kernel(x).reshape(-1, _HEAD_DIM, *x.shape[:1])


_OUT = {
  'weight': (('kernel', _from_heads),),
  'bias': rules_lib.DENSE['bias'],
}
_PIXELS = {  # of a transposed convolution: [I, O, H, W]
  'weight': (('kernel', lambda x: x.transpose(2, 3, 0, 1)),),
  'bias': rules_lib.DENSE['bias'],
}
_LAYER = r'(..coder)\.transformer\.layers\.(\d+)'
_BLOCK = r'\1/stack/blocks[\2]'
_NORM, _DENSE = rules_lib.NORM, rules_lib.DENSE

RULES = (
  Rule(r'encoder\.to_patch_embedding\.0', 'encoder/embedding', rules_lib.CONV),
  Rule(rf'{_LAYER}\.0\.norm', rf'{_BLOCK}/attention_norm', _NORM),
  Rule(rf'{_LAYER}\.0\.fn\.to_qkv', rf'{_BLOCK}/attention', _QKV),
  Rule(rf'{_LAYER}\.0\.fn\.to_out', rf'{_BLOCK}/attention/out', _OUT),
  Rule(rf'{_LAYER}\.1\.norm', rf'{_BLOCK}/mlp_norm', _NORM),
  Rule(rf'{_LAYER}\.1\.fn\.net\.0', rf'{_BLOCK}/mlp_in', _DENSE),
  Rule(rf'{_LAYER}\.1\.fn\.net\.2', rf'{_BLOCK}/mlp_out', _DENSE),
  # These two have other names in earlier versions of the code.
  Rule(r'(..coder)\.(?:transformer\.)?norm', r'\1/norm_out/norm', _NORM),
  Rule(r'decoder\.to_pixel\.(?:1|conv_out)', 'decoder/pixels', _PIXELS),
  Rule(r'pre_quant', 'to_code', _DENSE),
  Rule(r'post_quant', 'decoder/from_code', _DENSE),
  Rule(r'quantizer\.embedding', 'quantizer', rules_lib.EMBEDDING),
)


def rules(found: states.State) -> tuple[Rule, ...]:
  """Returns the table of rules."""
  del found
  return RULES


def state(tree: Any) -> dict[str, Any]:
  """Returns name -> array.

  The code has no output projection for a single head as wide as the tokens; an
  identity is added.

  Raises:
    ConvertError: if there are no tensors.
  """
  found: dict[str, Any] = states.tensors(tree)
  for name in list(found):
    layer, is_qkv, _ = name.partition('to_qkv.weight')
    out = f'{layer}to_out'
    square = tuple(found[name].shape) == (3 * _HEAD_DIM, _HEAD_DIM)
    if is_qkv and square and f'{out}.weight' not in found:
      found[f'{out}.weight'] = np.eye(_HEAD_DIM, dtype=np.float32)
      found[f'{out}.bias'] = np.zeros(_HEAD_DIM, np.float32)
  return found


def model(found: states.State) -> dict[str, Any]:
  """Returns the spec of the autoencoder; see `vq_jax.config.registry`.

  Raises:
    ConvertError: if the names are not those of a ViT-VQGAN.
  """
  width, image_channels, patch, other = states.shape(
    found, 'encoder.to_patch_embedding.0.weight', 4
  )
  if patch != other:
    raise errors.ConvertError(f'patches of {patch} x {other} are not square')
  from_code, _ = states.shape(found, 'post_quant.weight', 2)
  size, code_dim = states.shape(found, 'quantizer.embedding.weight', 2)

  def backbone(name, width):
    first = f'{name}.transformer.layers.0'
    qkv, _ = states.shape(found, f'{first}.0.fn.to_qkv.weight', 2)
    mlp, _ = states.shape(found, f'{first}.1.fn.net.0.weight', 2)
    return {
      'type': f'vit_{name}',
      'patch': patch,
      'head_width': None,
      'transformer': {
        'layers': states.count(found, rf'{name}\.transformer\.layers\.(\d+)\.'),
        'width': width,
        'heads': states.multiple(qkv, 3 * _HEAD_DIM, f'{name}: to_qkv'),
        'mlp_width': mlp,
        **vit_presets.REIMPLEMENTED,
      },
    }

  return {
    'type': 'vqvae',
    'encoder': backbone('encoder', width),
    'quantizer': {
      'type': 'vq',
      'codebook_size': size,
      'code_dim': code_dim,
      'commitment_weight': 0.25,
      'l2_normalize': True,
    },
    'decoder': {
      **backbone('decoder', from_code),
      'out_channels': image_channels,
    },
    'value_range': [0.0, 1.0],
  }


def image_size(found: states.State) -> tuple[int, int]:
  """Returns the image size of the grid whose fixed positions the file has.

  Raises:
    ConvertError: if the positions are not those of any grid.
  """
  tables = []
  for name in _POSITIONS:
    if states.shape(found, name, 3)[0] != 1:
      raise errors.ConvertError(f'{name} holds more or less than one table')
    tables.append(found[name].numpy()[0])
  *_, patch = states.shape(found, 'encoder.to_patch_embedding.0.weight', 4)
  tokens = len(tables[0])
  for h in range(1, tokens + 1):
    grid = (h, tokens // h)
    if tokens % h == 0 and all(_equal(table, grid) for table in tables):
      return h * patch, tokens // h * patch
  raise errors.ConvertError(
    f'the positions of its {tokens} tokens are not the fixed sines and cosines '
    'of any grid'
  )


def _equal(table: np.ndarray, grid: tuple[int, int]) -> bool:
  if table.shape[-1] % 4 or len(table) != grid[0] * grid[1]:
    return False
  want = positions.sincos_2d(grid, table.shape[-1])
  return np.allclose(table, want, atol=1e-4)
