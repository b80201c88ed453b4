"""Names of class folders: their Unicode form and their order."""

import functools
import os
import re
import unicodedata
from collections.abc import Iterable
from typing import Any

from vq_jax.data.errors import DataError


def natural_key(name: str) -> tuple[Any, ...]:
  """Returns a sort key for natural order: 2, 2b, 10, img2, img10.

  Digits are compared by their numerical value. A name that is a number may have
  a sign. The order does not depend on the locale.
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
  """Returns a name in the Unicode form NFC, in which it is typed."""
  return unicodedata.normalize('NFC', name)


def index_by_composed_name(names: Iterable[str]) -> dict[str, str]:
  """Returns a dict from names in the form NFC to names on disk.

  Raises:
    DataError: if two names are the same in that form, or a name is not UTF-8.
  """
  found: dict[str, str] = {}
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
  """Returns the class of a file: its first folder, or '' without a folder.

  Args:
    file: POSIX path relative to the folder of the source.
  """
  return composed(file.split('/')[0]) if '/' in file else ''
