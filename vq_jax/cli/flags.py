"""Flags of a command that are the fields of a dataclass."""

import argparse
import dataclasses
import types
import typing
from collections.abc import Collection
from typing import Any

from vq_jax.utils import docstrings


def add_fields(
  group: argparse._ArgumentGroup,
  cls: type,
  *,
  without: Collection[str] = (),
  prefix: str = '',
) -> set[str]:
  """Adds a flag for each field of a dataclass, with its docstring as help.

  Args:
    group: the group of flags.
    cls: the dataclass; its docstring has a section `Attributes`.
    without: names of fields that get no flag.
    prefix: text before each name.

  Returns:
    the names of the fields that have a flag now.
  """
  docs = docstrings.attribute_docs(cls)
  added = [f for f in dataclasses.fields(cls) if f.name not in without]
  for field in added:
    options: dict[str, Any] = {'type': _get_type(field.type)}
    if options['type'] is bool:
      options = {'action': argparse.BooleanOptionalAction}
    group.add_argument(
      f'--{prefix}{field.name.replace("_", "-")}',
      help=docs[field.name].replace('`', '').replace('%', '%%'),
      default=argparse.SUPPRESS,
      **options,
    )
  return {field.name for field in added}


def get_fields(
  arguments: argparse.Namespace, cls: type, *, prefix: str = ''
) -> dict[str, Any]:
  """Returns the fields of a dataclass whose flags were given."""
  names = {f.name: f'{prefix}{f.name}' for f in dataclasses.fields(cls)}
  given = vars(arguments)
  return {name: given[flag] for name, flag in names.items() if flag in given}


def _get_type(hint: Any) -> type:
  """Returns the type that the text of a flag is converted to."""
  if typing.get_origin(hint) is typing.Annotated:
    return _get_type(typing.get_args(hint)[0])
  if hint in (int, float, bool):
    return hint
  if (
    isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
  ):
    return _get_type(typing.get_args(hint)[0])
  return str
