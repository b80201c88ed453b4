"""The sizes of a CLIP, read off the shapes of its released arrays.

The names are those of OpenAI, which open_clip uses too, or of Hugging Face.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from vq_jax.features import clip_config
from vq_jax.features.clip_config import CLIPConfig
from vq_jax.features.clip_config import ResNetConfig
from vq_jax.features.clip_config import ViTConfig
from vq_jax.features.clip_options import Options
from vq_jax.utils.conversion import errors
from vq_jax.utils.conversion import states
from vq_jax.utils.conversion import unpickling

_HEAD_WIDTH = 64
# Image encoders of open_clip (ViT-H, g and bigG), whose heads are wider:
# width -> heads.
_WIDE_HEADS = {1280: 16, 1408: 16, 1664: 16}
_EPSILON = 1e-5  # of the batch norms


def is_huggingface(state: states.State) -> bool:
  """Returns whether the arrays have the names of Hugging Face."""
  return any(
    name.startswith(('text_model.', 'vision_model.')) for name in state
  )


def require_both(state: states.State) -> None:
  """Raises ConvertError unless there are an image and a text encoder."""
  starts = {name.partition('.')[0] for name in state}
  image = bool(starts & {'visual', 'vision_model'})
  text = bool(starts & {'text_model', 'transformer'})
  if not image or not text:
    here = 'image' if image else 'text' if text else 'no'
    raise errors.ConvertError(
      f'it has {here} encoder{" only" if image or text else ""}, but '
      f'{len(state)} arrays, as {", ".join(sorted(state)[:3])}'
    )


def prepare(state: states.State) -> Mapping[str, Any]:
  """Folds the batch norms of a ResNet into its convolutions.

  Raises:
    ConvertError: if an array of a batch norm is missing.
  """
  if is_huggingface(state) or not is_resnet(state):
    return state
  folded = dict(state)
  for name in state:
    head, _, last = name.removesuffix('.weight').rpartition('.')
    if not name.endswith('.weight') or not head.startswith('visual'):
      continue
    if last.startswith('conv'):
      _fold(folded, name, f'{head}.bn{last.removeprefix("conv")}')
    elif head.endswith('.downsample') and last == '0':
      _fold(folded, name, f'{head}.1')
  return folded


def _fold(arrays: dict[str, Any], name: str, norm: str) -> None:
  """Replaces a kernel and its batch norm by a kernel and a bias.

  (W x - mean) scale / sqrt(var) + shift has the kernel W scale / sqrt(var).
  """
  names = [f'{norm}.{leaf}' for leaf in ('weight', 'bias', 'running_mean')] + [
    f'{norm}.running_var'
  ]
  for part in names:
    states.shape(arrays, part, 1)
  kernel = _numpy(arrays[name])
  scale, shift, mean, variance = (_numpy(arrays.pop(part)) for part in names)
  scale = scale / np.sqrt(variance + _EPSILON)
  if kernel.ndim != 4 or len(kernel) != len(scale):
    raise errors.ConvertError(
      f'{name} has the shape {kernel.shape} and its batch norm {len(scale)} '
      'channels'
    )
  arrays[name] = kernel * np.expand_dims(scale, (1, 2, 3))
  arrays[name.removesuffix('weight') + 'bias'] = shift - mean * scale


def _numpy(value: Any) -> np.ndarray:
  if isinstance(value, unpickling.Tensor):
    value = value.numpy()
  return value.astype(np.float64)


def is_resnet(state: states.State) -> bool:
  """Returns whether the image encoder is a ResNet of OpenAI."""
  return 'visual.layer1.0.conv1.weight' in state


def sizes(state: states.State, options: Options) -> CLIPConfig:
  """Reads the sizes of a CLIP off the shapes of its arrays.

  Args:
    state: name -> object with a shape.
    options: what the shapes do not tell.

  Raises:
    ConvertError: if an array is missing, or if the number of heads is unknown.
  """
  names = _HUGGINGFACE if is_huggingface(state) else _OPENAI
  text = names['text_block'].format(r'(\d+)')
  length, width = states.shape(state, names['text_positions'], 2)
  given: dict[str, Any] = {
    'activation': options.activation or 'quick_gelu',
    'mean': options.mean or clip_config.MEAN,
    'std': options.std or clip_config.STD,
  }
  return CLIPConfig(
    embed_dim=states.shape(state, names['text_head'], 2)[names['out_axis']],
    text_width=width,
    text_heads=options.text_heads or _heads(width, 'text'),
    text_layers=states.count(state, text),
    text_mlp_width=_mlp_width(state, names['text_block'], names['mlp']),
    context_length=length,
    vocab_size=states.shape(state, names['tokens'], 2)[0],
    end_token=options.end_token,
    **given,
    **_vision(state, names, options),
  )


_OPENAI: Mapping[str, Any] = {
  'tokens': 'token_embedding.weight',
  'text_positions': 'positional_embedding',
  'text_block': r'transformer.resblocks.{}.',
  'text_head': 'text_projection',
  'out_axis': 1,
  'patches': 'visual.conv1.weight',
  'positions': 'visual.positional_embedding',
  'block': 'visual.transformer.resblocks.{}.',
  'mlp': 'mlp.c_fc.weight',
}
_HUGGINGFACE: Mapping[str, Any] = {
  'tokens': 'text_model.embeddings.token_embedding.weight',
  'text_positions': 'text_model.embeddings.position_embedding.weight',
  'text_block': 'text_model.encoder.layers.{}.',
  'text_head': 'text_projection.weight',
  'out_axis': 0,
  'patches': 'vision_model.embeddings.patch_embedding.weight',
  'positions': 'vision_model.embeddings.position_embedding.weight',
  'block': 'vision_model.encoder.layers.{}.',
  'mlp': 'mlp.fc1.weight',
}


def _vision(
  state: states.State, names: Mapping[str, Any], options: Options
) -> dict[str, Any]:
  """Returns the image size and the sizes of the image encoder."""
  if names is _OPENAI and is_resnet(state):
    width = states.shape(state, 'visual.layer1.0.conv1.weight', 4)[0]
    cells, _ = states.shape(state, 'visual.attnpool.positional_embedding', 2)
    one, two, three, four = (
      states.count(state, rf'visual\.layer{i}\.(\d+)\.') for i in range(1, 5)
    )
    layers = one, two, three, four
    resnet = ResNetConfig(layers=layers, width=width, heads=width // 2)
    return {'image_size': 32 * _side(cells), 'vision': resnet}
  width, _, patch, _ = states.shape(state, names['patches'], 4)
  cells, _ = states.shape(state, names['positions'], 2)
  vision = ViTConfig(
    patch=patch,
    width=width,
    layers=states.count(state, names['block'].format(r'(\d+)')),
    heads=options.vision_heads or _heads(width, 'image'),
    mlp_width=_mlp_width(state, names['block'], names['mlp']),
  )
  return {'image_size': patch * _side(cells), 'vision': vision}


def _mlp_width(state: states.State, block: str, mlp: str) -> int:
  return states.shape(state, block.format(0) + mlp, 2)[0]


def _side(positions: int) -> int:
  """Returns the side of a grid from the positions of it and of one token."""
  side = math.isqrt(max(positions - 1, 0))
  if side < 1 or side * side != positions - 1:
    raise errors.ConvertError(
      f'its image encoder has {positions} positions, which are not one and '
      'those of a square grid'
    )
  return side


def _heads(width: int, encoder: str) -> int:
  """Returns the heads of released models of a width."""
  if encoder == 'image' and width in _WIDE_HEADS:
    return _WIDE_HEADS[width]
  if width % _HEAD_WIDTH:
    raise errors.ConvertError(
      f'the heads of its {encoder} encoder of width {width} are unknown; put '
      'the config.json of the model beside the file'
    )
  return width // _HEAD_WIDTH
