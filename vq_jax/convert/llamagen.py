"""VQ-8 and VQ-16 of FoundationVision/LlamaGen: taming's VQGAN, renamed."""

import re
from typing import Any

from vq_jax.convert import taming
from vq_jax.utils.conversion import errors
from vq_jax.utils.conversion import states

LANDMARK, USUAL = 'encoder.conv_in.weight', ('', 'model', 'ema')
IGNORED = r'quantize\.codebook_used'  # a buffer of statistics

_MIDDLE = {'0': 'block_1', '1': 'attn_1', '2': 'block_2'}
rules = taming.rules
image_size = taming.image_size


def state(tree: Any) -> dict[str, Any]:
  """Finds the tokenizer, averaged if there is an average, in taming's names.

  Raises:
    ConvertError: if there are no tensors, or they have other names.
  """
  found = states.tensors(tree)
  levels = states.count(found, r'decoder\.conv_blocks\.(\d+)\.')
  if not levels:  # taming's own names would pass, and mean another quantizer
    raise errors.ConvertError(
      'it has no decoder.conv_blocks; a taming-vqgan has decoder.up instead'
    )
  return {_taming(name, levels): value for name, value in found.items()}


def _taming(name: str, levels: int) -> str:
  """Returns taming's name; its decoder numbers the levels in reverse."""
  name = re.sub(
    r'^(..coder)\.mid\.([012])\.',
    lambda m: f'{m[1]}.mid.{_MIDDLE[m[2]]}.',
    name,
  )
  name = re.sub(r'^encoder\.conv_blocks\.', 'encoder.down.', name)
  name = re.sub(
    r'^decoder\.conv_blocks\.(\d+)\.',
    lambda m: f'decoder.up.{levels - 1 - int(m[1])}.',
    name,
  )
  return re.sub(r'^(..coder\.(?:down|up)\.\d+)\.res\.', r'\1.block.', name)


def model(found: states.State) -> dict[str, Any]:
  """Returns the spec of the autoencoder; see `vq_jax.config.registry`."""
  spec = taming.model(found)
  quantizer = {**spec['quantizer'], 'legacy': False, 'l2_normalize': True}
  return {**spec, 'quantizer': quantizer}
