"""Parsing of split strings such as `train[:90%]`, as in TFDS."""

import dataclasses
import re
import unicodedata

from vq_jax.data.errors import DataError

_SPLIT = re.compile(r'(?P<name>[\w-]+)(\[(?P<start>[^:]*):(?P<stop>[^:]*)\])?')
_BOUND = re.compile(r'(?P<value>-?[\d_]+(\.\d+)?)(?P<percent>%)?')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Split:
  """A parsed split string.

  Attributes:
    name: name of the split.
    text: the split string.
    start: first bound, a number of examples or a percentage, counted from the
      end if it is negative; None if there is no such bound.
    stop: second bound.
  """

  name: str
  text: str
  start: str | None = None
  stop: str | None = None

  def rows(self, length: int) -> range:
    """Returns the positions of the examples; percentages are rounded.

    Args:
      length: number of examples of the whole split.

    Raises:
      DataError: if a bound is outside of the split, or no example is left.
    """
    start = 0 if self.start is None else self._row(self.start, length)
    stop = length if self.stop is None else self._row(self.stop, length)
    if start >= stop:
      raise DataError(
        f'the split {self.text!r} must hold at least one of the {length} '
        f'examples of {self.name!r}; it spans [{start}:{stop}].'
      )
    return range(start, stop)

  def _row(self, bound: str, length: int) -> int:
    match = _BOUND.fullmatch(bound)
    assert match  # bounds are checked when a split is parsed
    value = float(match['value'].replace('_', ''))
    row = round(value * length / 100) if match['percent'] else int(value)
    row = row + length if value < 0 else row
    if not 0 <= row <= length:
      raise DataError(
        f'the bounds of {self.text!r} must lie within the {length} examples '
        f'of {self.name!r}; got {bound}.'
      )
    return row


def parse_split(text: str) -> Split:
  """Parses a split string, `name` or `name[start:stop]`.

  Raises:
    DataError: if the text has another form.
  """
  # Names of folders are compared in this form too.
  match = _SPLIT.fullmatch(unicodedata.normalize('NFC', text))
  bounds = [match[key] or None for key in ('start', 'stop')] if match else []
  if not match or not all(_is_bound(bound) for bound in bounds if bound):
    raise DataError(
      f'a split must read like train, train[:90%] or train[100:200]; '
      f'got {text!r}.'
    )
  return Split(name=match['name'], text=text, start=bounds[0], stop=bounds[1])


def _is_bound(text: str) -> bool:
  match = _BOUND.fullmatch(text)
  return match is not None and ('.' not in text or bool(match['percent']))


def require_split(split: Split, valid: tuple[str, ...], where: str) -> None:
  """Raises DataError, with the valid names, if a split does not exist."""
  if split.name not in valid:
    raise DataError(
      f'{where} has no split {split.name!r}; it has {", ".join(valid)}. '
      'A part of a split is written like train[:90%] and train[90%:].'
    )
