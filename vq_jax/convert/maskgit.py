"""The tokenizer of google-research/maskgit: names and shapes."""

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import flax.serialization
import numpy as np

from vq_jax.convert import errors
from vq_jax.convert import kinds
from vq_jax.convert import rules as rules_lib
from vq_jax.convert import states
from vq_jax.convert.rules import Rule
from vq_jax.utils import file_kinds
from vq_jax.utils import trees

LANDMARK, USUAL = 'encoder/Conv_0/kernel', ('params',)
IGNORED = ''


def _squeeze(kernel: np.ndarray) -> np.ndarray:
  """[1, 1, I, O] to [I, O]."""
  if kernel.shape[:2] != (1, 1):
    raise ValueError(f'{kernel.shape} is no kernel of a 1x1 convolution')
  return kernel[0, 0]


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
    The tree that was saved.

  Raises:
    ConvertError: if the file is something else, or broken.
    OSError: if it cannot be read.
  """
  kinds.require_file(path)
  data = pathlib.Path(path).read_bytes()
  try:
    kinds.refuse(data[: file_kinds.HEAD], 'pytorch')
    tree = flax.serialization.msgpack_restore(data)
  # A broken file raises whatever its first wrong byte leads to.
  except Exception as error:
    raise errors.ConvertError(
      f'{path} cannot be read as a Flax checkpoint: '
      f'{(str(error) or type(error).__name__).rstrip(".")}.'
    ) from error
  del data  # the arrays are copies
  yield tree


def state(tree: Any) -> dict[str, np.ndarray]:
  """Returns name -> array, without `params/`.

  Raises:
    ConvertError: if there are none.
  """
  if not (isinstance(tree, dict) and isinstance(tree.get('params'), dict)):
    raise errors.ConvertError('it holds no params')
  try:
    found = trees.flatten(tree['params'])
  except TypeError as error:
    raise errors.ConvertError(f'its names are no strings: {error}') from error
  return {n: x for n, x in found.items() if isinstance(x, np.ndarray)}


def _counts(found: states.State) -> tuple[int, int]:
  """Returns how many levels there are, and residual blocks in each.

  There are as many blocks again between the levels and the codes.
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
  tower = {
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
      **tower,
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
      **tower,
      'in_channels': None,
      'out_channels': image_channels,
    },
    'value_range': [0.0, 1.0],
  }


def rules(found: states.State) -> tuple[Rule, ...]:
  """Returns the table of rules for these numbers of levels and blocks."""
  levels, blocks = _counts(found)
  places = [
    f'level_{i}_block_{j}' for i in range(levels) for j in range(blocks)
  ]
  middle = [f'middle_block_{j}' for j in range(blocks)]
  down = [*places, *middle]
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
  for tower, names in {'encoder': down, 'decoder': [*middle, *up]}.items():
    for k, name in enumerate(names):
      theirs, ours = f'{tower}/ResBlock_{k}', f'{tower}/{name}'
      for i in (1, 2):
        table += [
          Rule(f'{theirs}/GroupNorm_{i - 1}', f'{ours}/norm{i}/norm', _NORM),
          Rule(f'{theirs}/Conv_{i - 1}', f'{ours}/conv{i}', _CONV),
        ]
      table.append(Rule(f'{theirs}/Conv_2', f'{ours}/shortcut', _DENSE))
  return tuple(table)


def image_size(found: states.State) -> tuple[int, int]:
  """Returns 256 x 256; the weights fit any size, and serve 512 x 512 too."""
  del found
  return (256, 256)
