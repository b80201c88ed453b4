"""VQGAN of CompVis/taming-transformers: names, shapes and configs."""

import os
from collections.abc import Mapping
from typing import Any

from vq_jax.convert import released_configs
from vq_jax.utils.conversion import errors
from vq_jax.utils.conversion import rules as rules_lib
from vq_jax.utils.conversion import states
from vq_jax.utils.conversion.rules import Rule

LANDMARK, USUAL = 'encoder.conv_in.weight', ('', 'state_dict')
IGNORED = r'loss\..*'  # discriminator and perceptual network

_BLOCKS = {
  r'(encoder)\.down\.(\d+)\.block\.(\d+)': r'\1/level_\2_block_\3',
  r'(decoder)\.up\.(\d+)\.block\.(\d+)': r'\1/level_\2_block_\3',
  r'(..coder)\.mid\.block_1': r'\1/middle_block_0',
  r'(..coder)\.mid\.block_2': r'\1/middle_block_1',
}
_ATTENTIONS = {
  r'(encoder)\.down\.(\d+)\.attn\.(\d+)': r'\1/level_\2_attention_\3',
  r'(decoder)\.up\.(\d+)\.attn\.(\d+)': r'\1/level_\2_attention_\3',
  r'(..coder)\.mid\.attn_1': r'\1/middle_attention',
}


def _one_head(x):
  """[O, I, 1, 1] to [I, 1, O], with an axis of heads."""
  return rules_lib.dense_kernel(x)[:, None]


def _one_head_bias(x):
  """[O] to [1, O]."""
  return x[None]


def _from_one_head(x):
  """[O, I, 1, 1] to [1, I, O]."""
  return rules_lib.dense_kernel(x)[None]


def _to_1x1(x):
  """[I, O] to [O, I, 1, 1]."""
  return x.T[:, :, None, None]


_HEAD = {
  'weight': (('kernel', _one_head),),
  'bias': (('bias', _one_head_bias),),
}
_OUT = {
  'weight': (('kernel', _from_one_head),),
  'bias': rules_lib.DENSE['bias'],
}
INVERSES = {
  rules_lib.same: rules_lib.same,
  rules_lib.conv_kernel: lambda x: x.transpose(3, 2, 0, 1),
  rules_lib.dense_kernel: _to_1x1,
  _one_head: lambda x: _to_1x1(x[:, 0]),
  _one_head_bias: lambda x: x[0],
  _from_one_head: lambda x: _to_1x1(x[0]),
}


def _rules():
  conv, dense, norm = rules_lib.CONV, rules_lib.DENSE, rules_lib.NORM
  for theirs, ours in _BLOCKS.items():
    last = theirs.count('(')  # the number of groups
    yield Rule(rf'{theirs}\.norm([12])', rf'{ours}/norm\{last + 1}/norm', norm)
    yield Rule(rf'{theirs}\.conv([12])', rf'{ours}/conv\{last + 1}', conv)
    yield Rule(rf'{theirs}\.nin_shortcut', rf'{ours}/shortcut', dense)
  for theirs, ours in _ATTENTIONS.items():
    yield Rule(rf'{theirs}\.norm', rf'{ours}/norm', norm)
    for letter, name in {'q': 'query', 'k': 'key', 'v': 'value'}.items():
      target = rf'{ours}/attention/{name}'
      yield Rule(rf'{theirs}\.{letter}', target, _HEAD)
    yield Rule(rf'{theirs}\.proj_out', rf'{ours}/attention/out', _OUT)
  yield Rule(r'(encoder)\.down\.(\d+)\.downsample\.(conv)',
             r'\1/level_\2_down/\3', conv)  # fmt: skip
  yield Rule(r'(decoder)\.up\.(\d+)\.upsample\.(conv)',
             r'\1/level_\2_up/\3', conv)  # fmt: skip
  yield Rule(r'(..coder)\.(conv_in|conv_out)', r'\1/\2', conv)
  yield Rule(r'(..coder)\.norm_out', r'\1/norm_out/norm', norm)
  yield Rule(r'quant_conv', r'to_code', dense)
  yield Rule(r'post_quant_conv', r'decoder/from_code', dense)
  yield Rule(r'quantize\.embedding', r'quantizer', rules_lib.EMBEDDING)


RULES = tuple(_rules())


def state(tree: Any) -> dict[str, Any]:
  """Returns name -> tensor.

  Raises:
    ConvertError: if there are no tensors, or if the quantizer is another one.
  """
  found = states.tensors(tree)
  if 'quantize.embed.weight' in found:
    raise errors.ConvertError(
      'its quantizer is GumbelQuantize; only VectorQuantizer can be converted'
    )
  return found


def rules(found: states.State) -> tuple[Rule, ...]:
  """Returns the table of rules."""
  del found
  return RULES


def image_size(found: states.State) -> tuple[int, int]:
  """Returns the image size of all released models."""
  del found
  return (256, 256)


def encoder_and_decoder(found: states.State) -> dict[str, Any]:
  """Infers the architecture from the shapes.

  Returns:
    the specs of encoder and decoder.

  Raises:
    ConvertError: if the names are not those of a VQGAN.
  """
  channels, image_channels, *_ = states.shape(
    found, 'encoder.conv_in.weight', 4
  )

  def backbone(prefix, side):
    levels = states.count(found, rf'{side}\.(\d+)\.')
    widths = [
      states.shape(found, f'{side}.{i}.block.0.conv1.weight', 4)[0]
      for i in range(levels)
    ]
    return {
      'type': f'resnet_{prefix}',
      'channels': channels,
      'multipliers': [
        states.multiple(width, channels, f'width of {side}.{i}')
        for i, width in enumerate(widths)
      ],
      'blocks': states.count(found, rf'{side}\.0\.block\.(\d+)\.'),
      'attention_strides': [
        2**i for i in range(levels) if f'{side}.{i}.attn.0.q.weight' in found
      ],
    }

  z_channels, *_ = states.shape(found, 'encoder.conv_out.weight', 4)
  from_code, *_ = states.shape(found, 'post_quant_conv.weight', 4)
  out_channels, *_ = states.shape(found, 'decoder.conv_out.weight', 4)
  if out_channels != image_channels:
    raise errors.ConvertError(
      f'it maps images of {image_channels} channels to images of '
      f'{out_channels}; an autoencoder needs the same'
    )
  return {
    'encoder': {
      **backbone('encoder', 'encoder.down'),
      'out_channels': z_channels,
    },
    'decoder': {
      **backbone('decoder', 'decoder.up'),
      'in_channels': from_code,
      'out_channels': out_channels,
    },
  }


def model(found: states.State) -> dict[str, Any]:
  """Returns the spec of the autoencoder; see `vq_jax.config.registry`."""
  size, width = states.shape(found, 'quantize.embedding.weight', 2)
  return {
    'type': 'vqvae',
    **encoder_and_decoder(found),
    'quantizer': {
      'type': 'vq',
      'codebook_size': size,
      'code_dim': width,
      'commitment_weight': 0.25,
      'legacy': True,  # the default, in all released configs
    },
    'value_range': [-1.0, 1.0],
  }


def read_config(
  path: str | os.PathLike, spec: Mapping[str, Any]
) -> tuple[int, int]:
  """Checks a released config against the architecture of the weights.

  Args:
    path: the YAML file, of a VQGAN or of a transformer.
    spec: the result of `model`.

  Returns:
    the image size.

  Raises:
    ConvertError: if the file is of another kind, or contradicts the weights.
    OSError: if it cannot be read.
  """
  with released_configs.reading(
    path, 'VQGAN', 'n_embed, embed_dim and ddconfig'
  ) as fields:
    fields = fields.get('first_stage_config', {}).get('params', fields)
    layout = fields['ddconfig']
    said = {name: fields[name] for name in ('n_embed', 'embed_dim')}
    said |= {name: layout[name] for name in _layout(spec, 1)}
    side = int(layout['resolution'])
  stride = 2 ** (len(spec['encoder']['multipliers']) - 1)
  if side < 1 or side % stride:
    raise errors.ConvertError(
      f'{path}: resolution must be a multiple of {stride}; got {side}.'
    )
  found = {
    'n_embed': spec['quantizer']['codebook_size'],
    'embed_dim': spec['quantizer']['code_dim'],
    **_layout(spec, side),
  }
  resolutions = [side // 2**i for i in range(len(found['ch_mult']))]
  attended = said['attn_resolutions']
  if isinstance(attended, list):  # Other resolutions have no effect.
    with_effect = [n for n in resolutions if n in attended]
    if with_effect == found['attn_resolutions']:
      said['attn_resolutions'] = with_effect
  differences = [
    f'  ! {name}: {said[name]} in the file, {found[name]} in the weights'
    for name in found
    if said[name] != found[name]
  ]
  if differences:
    raise errors.ConvertError(
      f'{path} contradicts the weights:\n' + '\n'.join(differences)
    )
  return side, side


def make_config(found: states.State, side: int) -> dict[str, Any]:
  """Returns a config as it is released, for `read_config`.

  Args:
    found: name -> array of the VQGAN.
    side: the image size.
  """
  spec = model(found)
  return {
    'model': {
      'target': 'taming.models.vqgan.VQModel',
      'params': {
        'embed_dim': spec['quantizer']['code_dim'],
        'n_embed': spec['quantizer']['codebook_size'],
        'ddconfig': {**_layout(spec, side), 'resolution': side, 'dropout': 0.0},
        'lossconfig': {'target': 'taming.modules.losses.DummyLoss'},
      },
    }
  }


def _layout(spec: Mapping[str, Any], side: int) -> dict[str, Any]:
  """Returns the expected `ddconfig` for images of side `side`."""
  encoder, decoder = spec['encoder'], spec['decoder']
  return {
    'ch': encoder['channels'],
    'ch_mult': encoder['multipliers'],
    'num_res_blocks': encoder['blocks'],
    'attn_resolutions': [side // n for n in encoder['attention_strides']],
    'in_channels': decoder['out_channels'],
    'out_ch': decoder['out_channels'],
    'z_channels': encoder['out_channels'],
    'double_z': False,
  }
