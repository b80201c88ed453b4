"""The tokenizer of google-research/maskgit: names and shapes."""

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import flax.serialization
import numpy as np

from vq_jax.utils import file_kinds
from vq_jax.utils import trees
from vq_jax.utils.conversion import errors
from vq_jax.utils.conversion import kinds
from vq_jax.utils.conversion import rules as rules_lib
from vq_jax.utils.conversion import states
from vq_jax.utils.conversion.rules import Rule

LANDMARK, USUAL = 'encoder/Conv_0/kernel', ('params',)
IGNORED = ''


def _squeeze(kernel: np.ndarray) -> np.ndarray:
  """[1, 1, I, O] to [I, O]."""
  if kernel.shape[:2] != (1, 1):
    raise ValueError(f'{kernel.shape} is no kernel of a 1x1 convolution')
  return kernel[0, 0]


INVERSES = {
  rules_lib.same: rules_lib.same,
  _squeeze: lambda kernel: kernel[None, None],
}
_BIAS = (('bias', rules_lib.same),)
_KERNEL = (('kernel', rules_lib.same),)
_CONV = {'kernel': _KERNEL, 'bias': _BIAS}
_DENSE = {'kernel': (('kernel', _squeeze),), 'bias': _BIAS}
_NORM = {'scale': (('scale', rules_lib.same),), 'bias': _BIAS}
_CODEBOOK = {'codebook': (('codebook', rules_lib.same),)}


@contextlib.contextmanager
def reading(path: str | os.PathLike) -> Iterator[Any]:
  """Reads a msgpack file of Flax.

  Yields:
    the saved tree.

  Raises:
    ConvertError: if the file is of another kind or damaged.
    OSError: if it cannot be read.
  """
  kinds.require_file(path)
  data = pathlib.Path(path).read_bytes()
  try:
    kinds.refuse(data[: file_kinds.HEAD], 'pytorch')
    tree = flax.serialization.msgpack_restore(data)
  # A damaged file can raise any exception.
  except Exception as error:
    raise errors.ConvertError(
      f'{path} cannot be read as a Flax checkpoint: '
      f'{(str(error) or type(error).__name__).rstrip(".")}.'
    ) from error
  del data  # The arrays are copies.
  yield tree


def state(tree: Any) -> dict[str, np.ndarray]:
  """Returns name -> array, without `params/`.

  Raises:
    ConvertError: if there are no arrays.
  """
  if not (isinstance(tree, dict) and isinstance(tree.get('params'), dict)):
    raise errors.ConvertError('it holds no params')
  try:
    found = trees.flatten(tree['params'])
  except TypeError as error:
    raise errors.ConvertError(f'its names are not strings: {error}') from error
  return {n: x for n, x in found.items() if isinstance(x, np.ndarray)}


def _counts(found: states.State) -> tuple[int, int]:
  """Returns the number of levels, and of residual blocks in each of them.

  The middle, between the levels and the quantizer, has as many blocks.
  """
  levels = states.count(found, r'decoder/Conv_(\d+)/') - 1
  blocks = states.count(found, r'encoder/ResBlock_(\d+)/')
  return levels, states.multiple(blocks, levels + 1, 'residual blocks')


def model(found: states.State) -> dict[str, Any]:
  """Returns the spec of the autoencoder; see `vq_jax.config.registry`.

  Raises:
    ConvertError: if the names are not those of the tokenizer.
  """
  *_, channels = states.shape(found, 'encoder/Conv_0/kernel', 4)
  levels, blocks = _counts(found)
  *_, image_channels = states.shape(found, f'decoder/Conv_{levels}/kernel', 4)
  size, width = states.shape(found, 'quantizer/codebook', 2)
  widths = [
    states.shape(found, f'encoder/ResBlock_{i * blocks}/Conv_0/kernel', 4)[-1]
    for i in range(levels)
  ]
  backbone = {
    'channels': channels,
    'multipliers': [
      states.multiple(width, channels, f'width of level {i}')
      for i, width in enumerate(widths)
    ],
    'blocks': blocks,
    'middle_blocks': blocks,
    'attention_strides': [],
    'middle_attention': False,
    'shortcut': 'output',
    'block_bias': False,
  }
  return {
    'type': 'vqvae',
    'encoder': {
      'type': 'resnet_encoder',
      **backbone,
      'downsampling': 'average',
      'out_channels': None,
    },
    'quantizer': {
      'type': 'vq',
      'codebook_size': size,
      'code_dim': width,
      'commitment_weight': 0.25,
    },
    'decoder': {
      'type': 'resnet_decoder',
      **backbone,
      'in_channels': None,
      'out_channels': image_channels,
    },
    'value_range': [0.0, 1.0],
  }


def rules(found: states.State) -> tuple[Rule, ...]:
  """Returns the table of rules for the numbers of levels and blocks."""
  return make_rules(*_counts(found))


def make_rules(levels: int, blocks: int) -> tuple[Rule, ...]:
  """Returns the table of rules.

  Args:
    levels: number of levels of the encoder, and of the decoder.
    blocks: number of residual blocks of each level.
  """
  blocks_in_order = [
    f'level_{i}_block_{j}' for i in range(levels) for j in range(blocks)
  ]
  middle = [f'middle_block_{j}' for j in range(blocks)]
  down = [*blocks_in_order, *middle]
  up = [
    f'level_{i}_block_{j}'
    for i in reversed(range(levels))
    for j in range(blocks)
  ]
  table = [
    Rule('encoder/Conv_0', 'encoder/conv_in', _CONV),
    Rule('encoder/Conv_1', 'to_code', _DENSE),
    Rule('decoder/Conv_0', 'decoder/conv_in', _CONV),
    Rule(f'decoder/Conv_{levels}', 'decoder/conv_out', _CONV),
    Rule('(..coder)/GroupNorm_0', r'\1/norm_out/norm', _NORM),
    Rule('quantizer', 'quantizer', _CODEBOOK),
  ]
  for i in range(1, levels):
    ours = f'decoder/level_{levels - i}_up/conv'
    table.append(Rule(f'decoder/Conv_{i}', ours, _CONV))
  for side, names in {'encoder': down, 'decoder': [*middle, *up]}.items():
    for k, name in enumerate(names):
      theirs, ours = f'{side}/ResBlock_{k}', f'{side}/{name}'
      for i in (1, 2):
        table += [
          Rule(f'{theirs}/GroupNorm_{i - 1}', f'{ours}/norm{i}/norm', _NORM),
          Rule(f'{theirs}/Conv_{i - 1}', f'{ours}/conv{i}', _CONV),
        ]
      table.append(Rule(f'{theirs}/Conv_2', f'{ours}/shortcut', _DENSE))
  return tuple(table)


def image_size(found: states.State) -> tuple[int, int]:
  """Returns 256 x 256; the same weights are released for 512 x 512 too."""
  del found
  return (256, 256)
