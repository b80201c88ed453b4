"""What the commands that draw share: options of the sampler, and classes."""

import argparse
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


def class_numbers(labels: list[str], names: list[str]) -> list[int]:
  """Turns classes given by number or by name into numbers.

  Raises:
    ValueError: if there is no such class; lists those there are.
  """
  numbers = []
  for label in labels:
    if label in names:
      numbers.append(names.index(label))
    elif label.isdecimal() and int(label) < len(names):
      numbers.append(int(label))
    else:
      known = ', '.join(f'{i} {name}' for i, name in enumerate(names[:50]))
      raise ValueError(f'no class {label!r}. Classes: {known}.')
  return numbers
