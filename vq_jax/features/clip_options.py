"""What the config files beside the weights of a CLIP tell."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from vq_jax.features import clip_config
from vq_jax.utils.conversion import errors


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
  """What the weights do not tell, None where no config file has it.

  Attributes:
    activation: see `CLIPConfig`.
    vision_heads: attention heads of a Vision Transformer.
    text_heads: attention heads of the text transformer.
    end_token: see `CLIPConfig`.
    mean: see `CLIPConfig`.
    std: see `CLIPConfig`.
  """

  activation: str | None = None
  vision_heads: int | None = None
  text_heads: int | None = None
  end_token: int | None = None
  mean: tuple[float, ...] | None = None
  std: tuple[float, ...] | None = None


def read(folder: pathlib.Path, activation: str | None = None) -> Options:
  """Reads the config files of Hugging Face or of open_clip in a folder.

  Args:
    folder: the folder of the weights.
    activation: overrides that of the config.

  Returns:
    the options, empty if there is no config.

  Raises:
    ConvertError: if a file is damaged or describes another architecture.
    OSError: if it cannot be read.
  """
  config = _read_json(folder / 'config.json')
  if config.get('model_type') == 'clip':
    pixels = _read_json(folder / 'preprocessor_config.json')
    options = _of_huggingface(config, pixels)
  else:
    options = _of_open_clip(_read_json(folder / 'open_clip_config.json'))
  if activation is not None:
    options = dataclasses.replace(options, activation=activation)
  return options


def _read_json(file: pathlib.Path) -> dict[str, Any]:
  """Returns the content of a JSON file, {} if there is none."""
  try:
    content = json.loads(file.read_text())
  except FileNotFoundError:
    return {}
  except ValueError as error:
    raise errors.ConvertError(f'{file} is no JSON file: {error}.') from error
  return content if isinstance(content, dict) else {}


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
  """Returns a part of a config, {} if it has none.

  Raises:
    ConvertError: if it is no dict.
  """
  found = config.get(name, {})
  if not isinstance(found, Mapping):
    raise errors.ConvertError(
      f'{name} in the config of a CLIP must be a dict; got {found!r:.40}.'
    )
  return found


def _numbers(config: Mapping[str, Any], name: str) -> tuple[Any, ...] | None:
  """Returns a list of a config as a tuple; `CLIPConfig` checks it."""
  found = config.get(name)
  return tuple(found) if isinstance(found, list) else None


def _of_huggingface(
  config: Mapping[str, Any], pixels: Mapping[str, Any]
) -> Options:
  """Returns the options of `transformers.CLIPConfig`, with its defaults."""
  parts = text, vision = (
    _section(config, 'text_config'),
    _section(config, 'vision_config'),
  )
  activations = {str(part.get('hidden_act', 'quick_gelu')) for part in parts}
  if not activations <= {'gelu', 'quick_gelu'} or len(activations) > 1:
    raise errors.ConvertError(
      'hidden_act in config.json must be gelu or quick_gelu, and the same for '
      f'both encoders; got {", ".join(sorted(activations))}.'
    )
  for part in parts:
    epsilon = part.get('layer_norm_eps', clip_config.EPSILON)
    if epsilon != clip_config.EPSILON:
      raise errors.ConvertError(
        f'layer_norm_eps in config.json must be {clip_config.EPSILON}, that of '
        f'all released models; got {epsilon!r:.40}.'
      )
  end = text.get('eos_token_id')
  return Options(
    activation=activations.pop(),
    vision_heads=vision.get('num_attention_heads', 12),
    text_heads=text.get('num_attention_heads', 8),
    # 2 stands in old files, in which the largest id ends a text.
    end_token=None if end == 2 else end,
    mean=_numbers(pixels, 'image_mean'),
    std=_numbers(pixels, 'image_std'),
  )


def _of_open_clip(config: Mapping[str, Any]) -> Options:
  """Returns the options of a config of open_clip; empty if there is none."""
  model = _section(config, 'model_cfg')
  if not model:
    return Options()
  vision, text = _section(model, 'vision_cfg'), _section(model, 'text_cfg')
  pixels = _section(config, 'preprocess_cfg')
  heads = None
  if isinstance(vision.get('width'), int) and 'patch_size' in vision:
    head_width = vision.get('head_width', 64)
    if not isinstance(head_width, int) or head_width < 1:
      raise errors.ConvertError(
        f'head_width in open_clip_config.json must be a positive integer; got '
        f'{head_width!r:.40}.'
      )
    heads = vision['width'] // head_width
  return Options(
    activation='quick_gelu' if model.get('quick_gelu') else 'gelu',
    vision_heads=heads,
    text_heads=text.get('heads'),
    mean=_numbers(pixels, 'mean'),
    std=_numbers(pixels, 'std'),
  )
