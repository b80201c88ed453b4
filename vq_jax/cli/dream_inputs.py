"""The values of the flags of `vqjax dream`, read and checked."""

import dataclasses
import pathlib
import re
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Annotated
from typing import Any

import numpy as np

import vq_jax
from vq_jax import guidance
from vq_jax.guidance import guides as guides_lib
from vq_jax.inference import codec
from vq_jax.inference import dream as dream_lib
from vq_jax.inference import validate
from vq_jax.utils import fields

# A frame of a GIF lasts at most a minute.
_Fps = Annotated[float, fields.Range(least=1 / 60, most=1000)]
_IMAGES = ('.png', '.jpg', '.jpeg', '.webp', '.bmp')


def parse_size(arguments) -> tuple[int, int] | None:
  """Returns (H, W), or None if no size was given."""
  if 'size' not in arguments:
    return None
  found = re.fullmatch(r'(\d+)[x,](\d+)', arguments.size.strip().lower())
  if not found:
    raise ValueError(
      '--size must be HEIGHTxWIDTH in pixels, such as 256x384; got '
      f'{arguments.size!r}.'
    )
  return int(found[1]), int(found[2])


def parse_prompts(arguments) -> tuple[tuple[guidance.Prompt, ...], ...]:
  """Returns the prompts of each phrase, the images among them."""
  extra = tuple(
    guidance.parse_prompt(text, image=True) for text in arguments.image_prompt
  )
  for prompt in extra:
    if prompt.image and not pathlib.Path(prompt.image).is_file():
      raise FileNotFoundError(f'there is no image {prompt.image}.')
  if not arguments.prompt.strip():
    if not extra:
      raise ValueError(
        'say what the images should show, as with --prompt "a forest in the '
        'mist".'
      )
    return (extra,)
  return tuple((*p, *extra) for p in guidance.parse_story(arguments.prompt))


def check(arguments) -> None:
  """Checks the numbers, and that there is a guide."""
  validate.check_num(arguments.num, '--num')
  for name in ('save_every', 'phrase_steps'):
    flag = f'--{name.replace("_", "-")}'
    value = getattr(arguments, name, 1)
    fields.check_value(flag, value, fields.PositiveInt)
  fields.check_value('--frame-mix', arguments.frame_mix, fields.Fraction)
  fields.check_value('--fps', arguments.fps, _Fps)
  if not arguments.clip and not arguments.guide:
    raise ValueError(
      'a guide is needed: --clip FILE with the weights of a CLIP, or --guide '
      f'{" or ".join(guides_lib.NAMES)}.'
    )
  if 'frames' in arguments and (arguments.num > 1 or arguments.init != 'noise'):
    raise ValueError('--frames goes without --num and --init.')


def find_frames(arguments) -> list[pathlib.Path]:
  """Returns the image files of --frames, in the order of their names."""
  if 'frames' not in arguments:
    return []
  folder = pathlib.Path(arguments.frames)
  if not folder.is_dir():
    raise NotADirectoryError(f'--frames needs a folder; {folder} is none.')
  found = sorted(p for p in folder.iterdir() if p.suffix.lower() in _IMAGES)
  if not found:
    raise ValueError(
      f'there is no image file in {folder}; it needs some with the suffix '
      f'{" ".join(_IMAGES)}.'
    )
  return found


def read_init(
  init: str, model: vq_jax.Model, shape: tuple[int, int, int], arguments
) -> str | np.ndarray:
  """Returns the kind of the first images, or them, uint8 [(B,) H, W, C]."""
  if init in ('noise', 'tokens'):
    return init
  if init == 'prior':
    found = model.generate(arguments.seed, num=arguments.num)
    return np.stack([dream_lib.fit(image, shape[:2]) for image in found])
  return dream_lib.fit(codec.decode_image(init, shape[-1]), shape[:2])


def describe_story(
  story: Sequence[Sequence[guidance.Prompt]],
) -> Iterator[str]:
  """Yields a line for each prompt, so that misread numbers are seen."""
  for number, phrase in enumerate(story):
    for prompt in phrase:
      where = f'phrase {number + 1}: ' if len(story) > 1 else ''
      stop = '' if prompt.stop is None else f', stop {prompt.stop:g}'
      source = prompt.text or prompt.image
      yield f'{where}{source!r}, weight {prompt.weight:g}{stop}'


def describe(
  arguments, story, options: guidance.GuidanceOptions, motion: guidance.Motion
) -> dict[str, Any]:
  """Returns all that the images depend on."""
  given = ('folder', 'clip', 'guide', 'num', 'seed', 'init', 'size')
  settings = {name: getattr(arguments, name, None) for name in given}
  settings['prompt'] = ' ^ '.join(
    ' | '.join(map(str, phrase)) for phrase in story
  )
  settings |= {
    name: getattr(arguments, name, None)
    for name in ('phrase_steps', 'frames', 'frame_mix', 'save_every')
  }
  settings |= dataclasses.asdict(options)
  settings |= {f'move_{k}': v for k, v in dataclasses.asdict(motion).items()}
  if options.schedule == 'constant' and 'frames' not in arguments:
    del settings['steps']  # the same images come first
  return settings
