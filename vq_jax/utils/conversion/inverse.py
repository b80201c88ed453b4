"""Conversion of our variables back to the arrays of a released checkpoint.

The table of rules of a source is read in the other direction: the target of a
rule is matched with our names, and its pattern gives theirs. This needs rules
whose patterns have no choice beside their groups.
"""

import functools
import re
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from vq_jax.utils import trees
from vq_jax.utils.conversion import errors
from vq_jax.utils.conversion import rules as rules_lib

_GROUP = re.compile(r'\(([^()]*)\)')
_REFERENCE = re.compile(r'\\\\(\d)')  # a reference after re.escape

Inverses = Mapping[rules_lib.Transform, rules_lib.Transform]


def invert(
  params: Mapping[str, Any],
  rules: Iterable[rules_lib.Rule],
  inverses: Inverses,
  *,
  separator: str,
  kind: str,
) -> dict[str, np.ndarray]:
  """Converts parameters to a state dict.

  Args:
    params: our parameters.
    rules: table of rules of the source, in which each array of theirs becomes
      one of ours.
    inverses: transform of the rules -> its inverse.
    separator: what separates the parts of their names.
    kind: the kind of checkpoint, for the message.

  Returns:
    their name -> array, float32.

  Raises:
    ConvertError: if a parameter has no counterpart.
  """
  rules, found, missing = tuple(rules), {}, []
  for name, array in _unstack(params).items():
    match = _find(name, rules, separator)
    if match is None:
      missing.append(name)
      continue
    theirs, transform = match
    found[theirs] = np.asarray(inverses[transform](array), np.float32)
  if missing:
    others = f' and {len(missing) - 3} others' if len(missing) > 3 else ''
    raise errors.ConvertError(
      f'this model is not a {kind}, which has no counterpart of '
      f'{", ".join(missing[:3])}{others}.'
    )
  return found


def _unstack(params: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """Returns name -> array, with `blocks[i]` for a slice of stacked arrays."""
  found = {}
  for name, array in trees.flatten(params).items():
    array = np.asarray(array)
    name = re.sub(r'stack/block_(\d+)/', r'stack/blocks[\1]/', name)
    before, is_stacked, after = name.partition('stack/blocks/')
    if not is_stacked:
      found[name] = array
      continue
    for i, part in enumerate(array):
      found[f'{before}stack/blocks[{i}]/{after}'] = part
  return found


def _name_group(groups: Sequence[str], reference: re.Match) -> str:
  """Returns the group that a numbered reference stands for, with a name."""
  number = int(reference[1])
  return f'(?P<g{number}>{groups[number - 1]})'


def _take_group(
  match: re.Match, numbers: Iterator[int], group: re.Match
) -> str:
  """Returns what the next group has matched."""
  del group
  return match[f'g{next(numbers)}']


def _find(
  name: str, rules: Iterable[rules_lib.Rule], separator: str
) -> tuple[str, rules_lib.Transform] | None:
  """Returns their name for an array of ours, and the transform of the rule."""
  for rule in rules:
    groups = _GROUP.findall(rule.pattern)
    target = _REFERENCE.sub(
      functools.partial(_name_group, groups), re.escape(rule.target)
    )
    for leaf, ends in rule.leaves.items():
      for end, transform in ends:
        ours = f'{target}/{re.escape(end)}' if target else re.escape(end)
        match = re.fullmatch(ours, name)
        if match is None:
          continue
        numbers = iter(range(1, len(groups) + 1))
        module = _GROUP.sub(
          functools.partial(_take_group, match, numbers), rule.pattern
        ).replace('\\.', '.')
        return f'{module}{separator if module else ""}{leaf}', transform
  return None
