r"""Prompts: what an image should look like, how much, and for how long.

A prompt is written as in the notebooks of VQGAN+CLIP (arXiv:2204.08583):

    a forest in the mist : 2 | fog : -0.5 : -0.8 ^ a forest in the sun

`|` separates the prompts of one phrase, and `^` the phrases of a story, which
follow each other. Numbers after the text are the weight and the stop of the
prompt. A colon, bar or caret that belongs to the text follows a backslash, as
in `a clock at 12\:30`.
"""

import dataclasses
import math
import re
from typing import Annotated

from vq_jax.utils import fields

_Weight = Annotated[float, fields.Range(least=-1e6, most=1e6)]
_SPECIAL = '|^:'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prompt:
  """One text or image that an image should, or should not, resemble.

  Attributes:
    text: the text; None if the prompt is an image.
    image: the path of an image; None if the prompt is a text.
    weight: the weight of its loss. With a negative weight the image is led away
      from the prompt.
    stop: the distance, from 0 to pi^2 / 2, below which a prompt has no gradient
      any more; None for no limit. It has the sign of the weight: a prompt of
      weight -1 and stop -0.8 leads away up to a distance of 0.8.

  Example:
    >>> Prompt(text='fog', weight=-0.5)
    Prompt(text='fog', image=None, weight=-0.5, stop=None)

  Raises:
    ValueError: if there is neither text nor image, or a number does not fit.
  """

  text: str | None = None
  image: str | None = None
  weight: _Weight = 1.0
  stop: _Weight | None = None

  def __post_init__(self):
    fields.check(self)
    if (self.text is None) == (self.image is None):
      raise ValueError('a prompt is either a text or an image; give one.')
    if not (self.text or self.image or '').strip():
      raise ValueError('a prompt is empty; write what the image should show.')

  def __str__(self) -> str:
    """Returns the prompt as `parse_prompt` reads it."""
    source = self.text if self.text is not None else str(self.image)
    parts = [re.sub(rf'([\\{_SPECIAL}])', r'\\\1', source)]
    if self.weight != 1 or self.stop is not None:
      parts.append(f'{self.weight:g}')
    if self.stop is not None:
      parts.append(f'{self.stop:g}')
    return ':'.join(parts)


def parse_story(text: str) -> tuple[tuple[Prompt, ...], ...]:
  """Reads the prompts of all phrases of a story.

  Args:
    text: such as 'a forest:2 | fog:-1 ^ a lake'.

  Returns:
    the prompts of each phrase; one phrase if there is no `^`.

  Raises:
    ValueError: if a prompt is empty, or a weight or stop is no number.

  Example:
    >>> [[str(p) for p in phrase] for phrase in parse_story('a | b:2 ^ c')]
    [['a', 'b:2'], ['c']]
  """
  phrases = []
  for phrase in _split(text, '^'):
    parts = [part for part in _split(phrase, '|') if part.strip()]
    if not parts:
      raise ValueError(
        f'a phrase of the prompt {text!r} is empty; write what the image '
        'should show, such as "a forest | a lake".'
      )
    phrases.append(tuple(parse_prompt(part) for part in parts))
  return tuple(phrases)


def parse_prompt(text: str, *, image: bool = False) -> Prompt:
  r"""Reads one prompt, `text`, `text:weight` or `text:weight:stop`.

  Args:
    text: the prompt. Only numbers at its end are a weight and a stop: the text
      itself may have colons before other words.
    image: whether the text is the path of an image.

  Raises:
    ValueError: if the text is empty, or the numbers do not fit.

  Example:
    >>> parse_prompt('Title: a forest:2').weight
    2.0
    >>> parse_prompt(r'a clock at 12\:30').text
    'a clock at 12:30'
  """
  parts = _split(text, ':')
  numbers: list[float] = []
  while len(parts) > 1 and len(numbers) < 2 and _is_number(parts[-1]):
    numbers.insert(0, float(parts.pop()))
  source = re.sub(rf'\\([\\{_SPECIAL}])', r'\1', ':'.join(parts)).strip()
  if not source:
    raise ValueError(
      f'the prompt {text.strip()!r} has no text; write what the image should '
      'show, such as "a forest:2".'
    )
  weight = numbers[0] if numbers else 1.0
  stop = numbers[1] if len(numbers) > 1 else None
  return Prompt(
    **{'image' if image else 'text': source}, weight=weight, stop=stop
  )


def _split(text: str, separator: str) -> list[str]:
  """Splits a text where no backslash stands before the separator."""
  parts, escaped = [''], False
  for character in text:
    if character == separator and not escaped:
      parts.append('')
    else:
      parts[-1] += character
    escaped = character == '\\' and not escaped
  return parts


def _is_number(text: str) -> bool:
  try:
    return math.isfinite(float(text))
  except ValueError:
    return False
