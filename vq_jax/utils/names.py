"""Looking up named options, with errors that list the valid names."""

import difflib
import importlib
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any


def unknown(what: str, name: Any, valid: Iterable[str]) -> str:
  """Returns the message for an unknown name, with the closest valid one.

  Args:
    what: the kind of thing that is named, such as 'mask schedule'.
    name: the unknown name.
    valid: all valid names.
  """
  valid = sorted(valid)
  close = difflib.get_close_matches(str(name), valid, n=1)
  hint = f' Did you mean {close[0]!r}?' if close else ''
  return f'unknown {what} {name!r}.{hint} Valid: {", ".join(valid)}.'


def lookup(
  table: Mapping[str, Any],
  name: Any,
  what: str,
  *,
  error: type[ValueError] = ValueError,
) -> Any:
  """Returns `table[name]`.

  Args:
    table: name -> value.
    name: the name to look up.
    what: the kind of thing that is named, for the error.
    error: the class of the error.

  Raises:
    ValueError: if the table has no such name; the message lists all names.
  """
  if name not in table:
    raise error(unknown(what, name, table))
  return table[name]


def import_by_path(path: str) -> Any:
  """Returns what 'package.module:Name' names.

  Raises:
    ImportError: if there is no such module, or it has no such name.
  """
  module, _, name = path.partition(':')
  try:
    return getattr(importlib.import_module(module), name)
  except (AttributeError, ValueError) as error:
    raise ImportError(str(error)) from error
