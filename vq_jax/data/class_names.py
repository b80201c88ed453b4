"""The names of classes that are folders: how they are written and sorted."""

import functools
import os
import re
import unicodedata
from collections.abc import Iterable
from typing import Any

from vq_jax.data.errors import DataError


def natural_key(name: str) -> tuple[Any, ...]:
  """Returns a key that sorts the numbers in names by their values.

  Names compare piece by piece, digits as numbers: 2, 2b, 10, img2, img10. One
  that is a number altogether may have a sign. The order depends on no locale.
  """
  if re.fullmatch('[-+]?[0-9]+', name):
    return ((0, int(name), ''),), name
  pieces = re.split('([0-9]+)', name)
  return tuple(
    (0, int(piece), '') if i % 2 else (1, 0, piece)
    for i, piece in enumerate(pieces)
    if piece
  ), name


@functools.lru_cache(maxsize=4096)
def composed(name: str) -> str:
  """Composes the letters of a name (Unicode's form NFC), as they are typed."""
  return unicodedata.normalize('NFC', name)


def index_by_composed_name(names: Iterable[str]) -> dict[str, str]:
  """Returns composed name -> name on disk.

  Raises:
    DataError: if two names are one when composed, or a name is no UTF-8.
  """
  found = {}
  for name in names:
    try:
      name.encode()
    except UnicodeEncodeError as error:
      raise DataError(
        f'the name of a folder must be UTF-8; got {os.fsencode(name)!r}. '
        'Rename it.'
      ) from error
    other = found.setdefault(composed(name), name)
    if other != name:
      raise DataError(
        f'two folders have one name, {composed(name)!r}, written with composed '
        f'and with decomposed letters: {ascii(other)} and {ascii(name)}. Join '
        'them.'
      )
  return found


def get_class_name(file: str) -> str:
  """Returns the class of a relative name: its first folder, '' without one.

  Some systems write names decomposed; see `composed`.
  """
  return composed(file.split('/')[0]) if '/' in file else ''
