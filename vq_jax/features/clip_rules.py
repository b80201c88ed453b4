"""The rules that convert the arrays of a released CLIP."""

from collections.abc import Callable

import numpy as np

from vq_jax.features import clip_sizes
from vq_jax.features.clip_config import CLIPConfig
from vq_jax.features.clip_config import ResNetConfig
from vq_jax.features.clip_config import ViTConfig
from vq_jax.utils.conversion import rules as rules_lib
from vq_jax.utils.conversion import states
from vq_jax.utils.conversion.rules import Rule

# Arrays that are no weights.
IGNORED = (
  r'(.*\.)?(attn_mask|num_batches_tracked|position_ids|'
  r'input_resolution|context_length|vocab_size)'
)
_DENSE, _NORM, _CONV = rules_lib.DENSE, rules_lib.NORM, rules_lib.CONV


def rules(state: states.State, config: CLIPConfig) -> tuple[Rule, ...]:
  """Returns the table of rules for the arrays of a CLIP."""
  if clip_sizes.is_huggingface(state):
    return _huggingface_rules(config)
  return _openai_rules(config)


def _to_heads(heads: int, part: int = 0, parts: int = 1):
  """Returns transforms of the kernel and the bias of a projection to heads.

  Args:
    heads: number of heads.
    part: which of the projections that one array contains.
    parts: number of these projections.
  """

  def kernel(x):
    x = rules_lib.dense_kernel(np.split(x, parts)[part])
    return x.reshape(len(x), heads, -1)

  def bias(x):
    return np.split(x, parts)[part].reshape(heads, -1)

  return kernel, bias


def _from_heads(heads: int) -> rules_lib.Leaves:
  def kernel(x):
    x = rules_lib.dense_kernel(x)
    return x.reshape(heads, -1, x.shape[-1])

  return {**_DENSE, 'weight': (('kernel', kernel),)}


def _projection(heads: int) -> rules_lib.Leaves:
  kernel, bias = _to_heads(heads)
  return {'weight': (('kernel', kernel),), 'bias': (('bias', bias),)}


def _joint_projection(heads: int) -> rules_lib.Leaves:
  """Returns leaves for queries, keys and values in one array."""
  parts = [
    (name, *_to_heads(heads, i, 3))
    for i, name in enumerate(('query', 'key', 'value'))
  ]
  return {
    'in_proj_weight': tuple((f'{n}/kernel', kernel) for n, kernel, _ in parts),
    'in_proj_bias': tuple((f'{n}/bias', bias) for n, _, bias in parts),
  }


def _only(leaf: str, target: str, transform=rules_lib.same) -> rules_lib.Leaves:
  return {leaf: ((target, transform),)}


def _blocks(
  block: Callable[[str, str, int], tuple[Rule, ...]],
  theirs: str,
  encoder: str,
  config: CLIPConfig,
) -> tuple[Rule, ...]:
  """Returns the rules of the blocks of one encoder.

  Args:
    block: maps a pattern of theirs, our place and a number of heads to the
      rules of a block.
    theirs: the pattern before the index of a block.
    encoder: our name of the encoder.
    config: the sizes.
  """
  stack = f'{encoder}/stack/blocks[\\1]'
  if encoder == 'text_encoder':
    return block(rf'{theirs}\.(\d+)', stack, config.text_heads)
  assert isinstance(config.vision, ViTConfig)
  last, heads = config.vision.layers - 1, config.vision.heads
  return (
    *block(rf'{theirs}\.(?!{last}\.)(\d+)', stack, heads),
    *block(rf'{theirs}\.{last}', f'{encoder}/last_block', heads),
  )


def _openai_rules(config: CLIPConfig) -> tuple[Rule, ...]:
  def block(theirs, ours, heads):
    attention = f'{ours}/attention'
    return (
      Rule(rf'{theirs}\.ln_1', f'{ours}/attention_norm', _NORM),
      Rule(rf'{theirs}\.ln_2', f'{ours}/mlp_norm', _NORM),
      Rule(rf'{theirs}\.attn', attention, _joint_projection(heads)),
      Rule(
        rf'{theirs}\.attn\.out_proj', f'{attention}/out', _from_heads(heads)
      ),
      Rule(rf'{theirs}\.mlp\.c_fc', f'{ours}/mlp_in', _DENSE),
      Rule(rf'{theirs}\.mlp\.c_proj', f'{ours}/mlp_out', _DENSE),
    )

  top = {
    **_only('text_projection', 'text_encoder/head/kernel'),
    **_only('positional_embedding', 'text_encoder/position_embedding'),
    **_only('logit_scale', 'logit_scale'),
  }
  text = (
    Rule('', '', top),
    Rule(
      'token_embedding', 'text_encoder/embedding', _only('weight', 'embedding')
    ),
    Rule('ln_final', 'text_encoder/norm_out', _NORM),
    *_blocks(block, r'transformer\.resblocks', 'text_encoder', config),
  )
  if isinstance(config.vision, ResNetConfig):
    return text + _resnet_rules(config.vision)
  visual = {
    **_only('class_embedding', 'class_embedding'),
    **_only('positional_embedding', 'position_embedding'),
    **_only('proj', 'head/kernel'),
  }
  return (
    *text,
    Rule('visual', 'image_encoder', visual),
    Rule(r'visual\.conv1', 'image_encoder/patch_embedding', _CONV),
    Rule(r'visual\.ln_pre', 'image_encoder/norm_in', _NORM),
    Rule(r'visual\.ln_post', 'image_encoder/norm_out', _NORM),
    *_blocks(block, r'visual\.transformer\.resblocks', 'image_encoder', config),
  )


def _resnet_rules(vision: ResNetConfig) -> tuple[Rule, ...]:
  ours, table = 'image_encoder', []
  for i in range(3):
    table.append(Rule(rf'visual\.conv{i + 1}', f'{ours}/stem_{i}', _CONV))
  for i in range(4):
    block = rf'visual\.layer{i + 1}\.(\d+)'
    target = rf'{ours}/stage_{i}_block_\1'
    for j in range(3):
      table.append(Rule(rf'{block}\.conv{j + 1}', f'{target}/conv_{j}', _CONV))
    table.append(Rule(rf'{block}\.downsample\.0', f'{target}/shortcut', _CONV))
  pool, projection = r'visual\.attnpool', _projection(vision.heads)
  names = {'q_proj': 'query', 'k_proj': 'key', 'v_proj': 'value'}
  return (
    *table,
    Rule(
      pool, f'{ours}/pool', _only('positional_embedding', 'position_embedding')
    ),
    *(
      Rule(rf'{pool}\.{theirs}', f'{ours}/pool/{name}', projection)
      for theirs, name in names.items()
    ),
    Rule(rf'{pool}\.c_proj', f'{ours}/pool/out', _from_heads(vision.heads)),
  )


def _huggingface_rules(config: CLIPConfig) -> tuple[Rule, ...]:
  def block(theirs, ours, heads):
    return (
      Rule(rf'{theirs}\.layer_norm1', f'{ours}/attention_norm', _NORM),
      Rule(rf'{theirs}\.layer_norm2', f'{ours}/mlp_norm', _NORM),
      *(
        Rule(
          rf'{theirs}\.self_attn\.{name[0]}_proj',
          f'{ours}/attention/{name}',
          _projection(heads),
        )
        for name in ('query', 'key', 'value')
      ),
      Rule(
        rf'{theirs}\.self_attn\.out_proj',
        f'{ours}/attention/out',
        _from_heads(heads),
      ),
      Rule(rf'{theirs}\.mlp\.fc1', f'{ours}/mlp_in', _DENSE),
      Rule(rf'{theirs}\.mlp\.fc2', f'{ours}/mlp_out', _DENSE),
    )

  def positions(theirs, ours):
    leaves = _only('weight', 'position_embedding')
    return Rule(rf'{theirs}\.embeddings\.position_embedding', ours, leaves)

  text, image = 'text_encoder', 'image_encoder'
  return (
    Rule('', '', _only('logit_scale', 'logit_scale')),
    Rule('text_projection', f'{text}/head', _DENSE),
    Rule('visual_projection', f'{image}/head', _DENSE),
    positions('text_model', text),
    *_blocks(block, r'text_model\.encoder\.layers', text, config),
    Rule(
      r'text_model\.embeddings\.token_embedding',
      f'{text}/embedding',
      _only('weight', 'embedding'),
    ),
    Rule(r'text_model\.final_layer_norm', f'{text}/norm_out', _NORM),
    positions('vision_model', image),
    *_blocks(block, r'vision_model\.encoder\.layers', image, config),
    Rule(
      r'vision_model\.embeddings',
      image,
      _only('class_embedding', 'class_embedding'),
    ),
    Rule(
      r'vision_model\.embeddings\.patch_embedding',
      f'{image}/patch_embedding',
      _CONV,
    ),
    Rule(r'vision_model\.pre_layrnorm', f'{image}/norm_in', _NORM),
    Rule(r'vision_model\.post_layernorm', f'{image}/norm_out', _NORM),
  )
