"""What the commands that draw share: options of the sampler, and classes."""

import argparse
import sys
import unicodedata
from typing import Any

_FOR_ALL = (
  ('--guidance', float, 'strength of classifier-free guidance; 0 is none'),
  (
    '--guidance-schedule',
    str,
    'how that strength grows: constant, linear or power_cosine',
  ),
  ('--guidance-power', float, 'of power_cosine: how late guidance sets in'),
  ('--temperature', float, 'of the drawn tokens; 0 takes the likeliest'),
  ('--top-k', int, 'draw from the k most likely tokens only'),
  ('--top-p', float, 'draw from tokens that make up this probability only'),
)
_FOR_MASKGIT = (
  ('--steps', int, 'decoding steps'),
  ('--schedule', str, 'of what is masked: cosine, arccos, linear, ...'),
  (
    '--rounding',
    str,
    'which number of tokens is rounded down: masked, decided or float32',
  ),
  (
    '--order',
    str,
    'which positions come first: confidence, halton, random or critic',
  ),
  ('--choice-temperature', float, 'randomness in confidence and critic'),
  ('--sharpen', float, 'logits are multiplied by up to this, at the last step'),
  ('--remask', float, 'fraction of decided tokens that is masked again'),
  ('--remask-limit', str, 'how that fraction is bounded: cap or rescale'),
)


def add(parser: argparse.ArgumentParser) -> None:
  """Adds the sampler's options to a command."""
  for title, options in (
    ('sampling', _FOR_ALL),
    ('sampling a MaskGIT', _FOR_MASKGIT),
  ):
    group = parser.add_argument_group(
      title, 'what is not given is as the run was configured'
    )
    for name, kind, text in options:
      group.add_argument(name, type=kind, help=text, default=argparse.SUPPRESS)
  group = parser.add_argument_group('sampling an autoregressive prior')
  group.add_argument(
    '--cache',
    action=argparse.BooleanOptionalAction,
    help='keep what earlier tokens computed (the default)',
    default=argparse.SUPPRESS,
  )


def options_of(arguments: argparse.Namespace) -> dict[str, Any]:
  """Returns the sampler's options that were given."""
  return {
    name: getattr(arguments, name)
    for flag, *_ in (*_FOR_ALL, *_FOR_MASKGIT, ('--cache',))
    if (name := flag.removeprefix('--').replace('-', '_')) in arguments
  }


def check_files(arguments: argparse.Namespace, channels: int) -> None:
  """Checks, before long work, that --out and --gif can be written.

  Raises:
    ValueError: see `images.check_image_path`; or if both are one file.
    OSError: see `images.check_image_path`.
  """
  import pathlib

  from vq_jax.utils import images

  images.check_image_path(arguments.out, channels=channels)
  if 'gif' not in arguments:
    return
  images.check_image_path(arguments.gif, channels=channels, animated=True)
  out, gif = (pathlib.Path(p).resolve() for p in (arguments.out, arguments.gif))
  if out == gif:
    raise ValueError(
      f'--out and --gif cannot both be {arguments.out}; give two files.'
    )


def find_classes(text: str, names: list[str]) -> list[int | str]:
  """Reads classes, given by number or by name and separated by commas.

  A number is the place of a class in the run's list, from 0. A class whose name
  is itself a number is asked for by `name:7`. Names may hold commas.

  Args:
    text: such as '3,7' or 'cat,tench, Tinca tinca'.
    names: of the run's classes.

  Returns:
    numbers and names; what is neither is returned as a name.
  """
  known = {unicodedata.normalize('NFC', name) for name in names}
  parts = unicodedata.normalize('NFC', text).split(',')
  found, start = [], 0
  while start < len(parts):
    stop = next(
      stop
      for stop in range(len(parts), start, -1)
      if _name(','.join(parts[start:stop])) in known or stop == start + 1
    )
    part = ','.join(parts[start:stop]).strip()
    start = stop
    if _is_number(part):
      found.append(int(part))
    elif part:
      found.append(_name(part))
  for number in found:
    if isinstance(number, int) and 0 <= number < len(names):
      _tell_number_from_name(number, names)
  return found


def _is_number(text: str) -> bool:
  return text.removeprefix('-').isdecimal() and text.isascii()


def _name(text: str) -> str:
  """Returns the name that a text means, or '' for a number."""
  text = text.strip()
  return '' if _is_number(text) else text.removeprefix('name:').strip()


def _tell_number_from_name(number: int, names: list[str]) -> None:
  """Says which class a number is where another class has that name."""
  if names[number] != str(number) and str(number) in names:
    print(
      f"note: {number} is the class number {number}, '{names[number]}'. Write "
      f"name:{number} for the class called '{number}'.",
      file=sys.stderr,
    )
