"""Flags of the samplers and classes, for all commands that sample."""

import argparse
import dataclasses
import pathlib
import sys
import unicodedata
from collections.abc import Sequence
from typing import Any

import vq_jax
from vq_jax import samplers
from vq_jax.cli import flags
from vq_jax.utils import images

_GROUPS = (
  ('options of all samplers', samplers.TokenSampler),
  ('options of a MaskGIT', samplers.MaskGITSampler),
)


def add(parser: argparse.ArgumentParser) -> None:
  """Adds a flag for each option of the samplers to a command."""
  added: set[str] = set()
  for title, cls in _GROUPS:
    group = parser.add_argument_group(
      title, 'The defaults are those of the config of the run.'
    )
    added |= flags.add_fields(group, cls, without=added)


def options_from(arguments: argparse.Namespace) -> dict[str, Any]:
  """Returns the options of samplers that were given, by name."""
  names = {
    field.name for _, cls in _GROUPS for field in dataclasses.fields(cls)
  }
  return {k: v for k, v in vars(arguments).items() if k in names}


def samplers_from(
  arguments: argparse.Namespace, model: vq_jax.Model
) -> list[samplers.Sampler] | None:
  """Returns the samplers of all levels, with the options that were given.

  None, if no option was given: the samplers of the run.

  Raises:
    ValueError: if the sampler of a level has no such option.
  """
  options = options_from(arguments)
  if not options:
    return None
  return [
    samplers.with_options(level.sampler, options) for level in model.levels
  ]


def check_files(arguments: argparse.Namespace, channels: int) -> None:
  """Checks, before long work, that --out and --gif can be written.

  Raises:
    ValueError: see `images.check_image_path`; or if both are one file.
    OSError: see `images.check_image_path`.
  """
  images.check_image_path(arguments.out, channels=channels)
  if 'gif' not in arguments:
    return
  images.check_image_path(arguments.gif, channels=channels, animated=True)
  out, gif = (pathlib.Path(p).resolve() for p in (arguments.out, arguments.gif))
  if out == gif:
    raise ValueError(
      f'--out and --gif cannot both be {arguments.out}; give two files.'
    )


def find_classes(text: str, names: Sequence[str]) -> list[int | str]:
  """Reads classes, given by number or by name and separated by commas.

  A number is that of a class, from 0. A class whose name is itself a number is
  written `name:7`. Names may contain commas.

  Args:
    text: such as '3,7' or 'cat,tench, Tinca tinca'.
    names: the names of the classes of the run.

  Returns:
    numbers and names; a part that is neither is returned as a name.
  """
  known = {unicodedata.normalize('NFC', name) for name in names}
  parts = unicodedata.normalize('NFC', text).split(',')
  found: list[int | str] = []
  start = 0
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
      _warn_if_a_name_is_the_number(number, names)
  return found


def _is_number(text: str) -> bool:
  return text.removeprefix('-').isdecimal() and text.isascii()


def _name(text: str) -> str:
  """Returns the name in a text, or '' for a number."""
  text = text.strip()
  return '' if _is_number(text) else text.removeprefix('name:').strip()


def _warn_if_a_name_is_the_number(number: int, names: Sequence[str]) -> None:
  """Prints a note if another class is called by the number of a class."""
  if names[number] != str(number) and str(number) in names:
    print(
      f"note: {number} is the class number {number}, '{names[number]}'. Write "
      f"name:{number} for the class called '{number}'.",
      file=sys.stderr,
    )
