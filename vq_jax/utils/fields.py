"""Annotations of valid ranges, and checks of values against them.

A dataclass states the valid ranges in its annotations and checks its fields
when it is made:

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Sampler:
      steps: fields.PositiveInt = 8
      temperature: Annotated[float, fields.Range(least=0, most=10)] = 1.0

      def __post_init__(self):
        fields.check(self)

Whatever the range of a number, NaN, infinity and bools are refused, and floats
in place of integers. NumPy's scalars are converted to Python's numbers.
"""

import dataclasses
import functools
import inspect
import math
import numbers
import operator
import types
import typing
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Annotated
from typing import Any
from typing import Literal
from typing import cast

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Range:
  """The valid range of a number.

  Example:
    >>> Range(least=0, most=1).holds(0.5)
    True

  Attributes:
    least: smallest valid number.
    most: largest valid number.
    above: exclusive lower bound; None if there is none.
  """

  least: float = -math.inf
  most: float = math.inf
  above: float | None = None

  def holds(self, value: float) -> bool:
    """Returns whether a number is in the range."""
    inside = self.least <= value <= self.most
    return inside and (self.above is None or value > self.above)

  def __str__(self) -> str:
    """Describes the range, for use after the word 'number'."""
    if self.above is not None:
      end = f'{self.most:g}]' if self.most < math.inf else 'infinity)'
      return f' in ({self.above:g}, {end}'
    if self.least > -math.inf and self.most < math.inf:
      return f' in [{self.least:.15g}, {self.most:.15g}]'
    if self.least > -math.inf:
      return f' of at least {self.least:.15g}'
    return f' of at most {self.most:.15g}' if self.most < math.inf else ''


_ANY = Range()

PositiveInt = Annotated[int, Range(least=1)]
NonNegativeInt = Annotated[int, Range(least=0)]
PositiveFloat = Annotated[float, Range(above=0)]
NonNegativeFloat = Annotated[float, Range(least=0)]
Fraction = Annotated[float, Range(least=0, most=1)]

# JAX uses 32 bits of a seed only, and NumPy and grain refuse negative seeds.
Seed = Annotated[int, Range(least=0, most=2**32 - 1)]


def check(instance: Any, *, error: type[ValueError] = ValueError) -> None:
  """Checks the values of a dataclass against the types of its fields.

  Numbers, bools, strings, `Literal`, functions, dataclasses, and unions and
  sequences of these are checked; fields of other types are not. Scalars of
  NumPy are replaced by Python's numbers, so that equal dataclasses are the same
  static argument of `jax.jit`.

  Args:
    instance: the dataclass.
    error: type of the error that is raised.

  Raises:
    ValueError: if a value has the wrong type or is out of range. The message
      has the name of the field, the valid values and the value.
  """
  hints = type_hints(cast(Any, type(instance)))
  for field in dataclasses.fields(instance):
    if field.name in hints:
      value = getattr(instance, field.name)
      plain = check_value(field.name, value, hints[field.name], error=error)
      if plain is not value:
        object.__setattr__(instance, field.name, plain)  # it may be frozen


def check_arguments(
  factory: Callable,
  arguments: Mapping[str, Any],
  *,
  where: str = '',
  error: type[ValueError] = ValueError,
) -> dict[str, Any]:
  """Checks arguments against the annotations of a class or a function.

  Args:
    factory: the dataclass or function.
    arguments: dict from names to values.
    where: text before a name in the message.
    error: type of the error that is raised; see `check`.

  Returns:
    The arguments, with Python's numbers instead of NumPy's scalars.
  """
  hints, found = type_hints(factory), dict(arguments)
  for name, value in arguments.items():
    if name in hints:
      found[name] = check_value(
        f'{where}{name}', value, hints[name], error=error
      )
  return found


def check_value(
  name: str, value: Any, hint: Any, *, error: type[ValueError] = ValueError
) -> Any:
  """Checks one value against a type, such as `fields.Seed`; see `check`.

  Example:
    >>> check_value('steps', 0, PositiveInt)
    Traceback (most recent call last):
    ...
    ValueError: steps must be a whole number of at least 1; got 0.

  Returns:
    The value, with Python's numbers instead of NumPy's scalars.
  """
  if not _fits(value, hint):
    raise error(f'{name} must be {_describe(hint)}; got {format_value(value)}.')
  return _plain(value)


def checked(
  function: Callable | None = None, *, error: type[ValueError] = ValueError
) -> Callable:
  """Makes a function check its arguments against their annotations."""
  if function is None:
    return functools.partial(checked, error=error)
  signature = inspect.signature(function)

  @functools.wraps(function)
  def wrapper(*args, **kwargs):
    bound = signature.bind(*args, **kwargs)
    bound.arguments.update(
      check_arguments(function, bound.arguments, error=error)
    )
    return function(*bound.args, **bound.kwargs)

  return wrapper


@functools.cache
def type_hints(factory: Callable) -> dict[str, Any]:
  """Returns a dict from names to annotations of a class or a function."""
  if not inspect.isclass(factory):
    return typing.get_type_hints(factory, include_extras=True)
  hints = {}
  for cls in reversed(factory.__mro__):
    # One by one, because annotations for type checkers alone are skipped.
    for name, hint in inspect.get_annotations(cls).items():
      if not isinstance(hint, str):
        hints[name] = hint
  return hints


def _is_union(hint: Any) -> bool:
  return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _number(hint: Any) -> tuple[type, Range] | None:
  """Returns the type and range of a number's annotation; None for others."""
  kind, bounds = hint, _ANY
  if typing.get_origin(hint) is Annotated:
    kind, *notes = typing.get_args(hint)
    bounds = next((note for note in notes if isinstance(note, Range)), _ANY)
  return (kind, bounds) if kind in (int, float) else None


def _fits(value: Any, hint: Any) -> bool:
  """Returns whether a value has a type; True for types not known here."""
  number = _number(hint)
  if number is not None:
    return _fits_number(value, *number)
  if _is_union(hint):
    return any(_fits(value, part) for part in typing.get_args(hint))
  origin = typing.get_origin(hint)
  if origin is Literal:
    return any(_is_literal(value, x) for x in typing.get_args(hint))
  if origin in (tuple, list, Sequence):
    return _fits_sequence(value, hint)
  if origin is Callable:
    return callable(value)
  if hint is bool:
    return isinstance(value, bool | np.bool_)
  if hint in (str, types.NoneType) or dataclasses.is_dataclass(hint):
    return isinstance(value, hint)
  if getattr(hint, '_is_runtime_protocol', False):
    # A class itself has the methods of the protocol too.
    return isinstance(value, hint) and not inspect.isclass(value)
  return True


def _fits_number(value: Any, kind: type, bounds: Range) -> bool:
  wanted = numbers.Integral if kind is int else numbers.Real
  if not isinstance(value, wanted) or isinstance(value, bool | np.bool_):
    return False
  try:
    value = kind(value)  # of NumPy, half precision compares with no large bound
  except (OverflowError, ValueError):  # beyond all floats; infinity
    return False
  return (kind is int or math.isfinite(value)) and bounds.holds(value)


def _is_literal(value: Any, literal: Any) -> bool:
  """Returns whether a value is one of those that a `Literal` lists."""
  if isinstance(literal, int) and not isinstance(literal, bool):
    return _fits_number(value, int, _ANY) and value == literal
  return isinstance(value, type(literal)) and value == literal


def _plain(value: Any) -> Any:
  """Converts NumPy's scalars to Python's, also in a tuple or a list."""
  if isinstance(value, np.bool_):
    return bool(value)
  if isinstance(value, numbers.Integral) and not isinstance(value, int):
    return int(value)
  if isinstance(value, numbers.Real) and not isinstance(value, int | float):
    return float(value)
  if isinstance(value, np.float64):  # a float, but one of NumPy
    return float(value)
  if type(value) in (tuple, list):
    plain = type(value)(map(_plain, value))
    return value if all(map(operator.is_, plain, value)) else plain
  return value


def _fits_sequence(value: Any, hint: Any) -> bool:
  parts = typing.get_args(hint)
  if not isinstance(value, tuple | list):
    return False
  if parts[-1] is Ellipsis or typing.get_origin(hint) is not tuple:
    return all(_fits(x, parts[0]) for x in value)
  return len(value) == len(parts) and all(map(_fits, value, parts))


def _describe(hint: Any) -> str:
  """Describes a type in an error message."""
  number = _number(hint)
  if number is not None:
    kind, bounds = number
    what = 'a whole number' if kind is int else 'a finite number'
    return f'{what}{bounds}'
  if _is_union(hint):
    return ' or '.join(map(_describe, typing.get_args(hint)))
  origin = typing.get_origin(hint)
  if origin is Literal:
    return ' or '.join(map(repr, typing.get_args(hint)))
  if origin in (tuple, list, Sequence):
    parts = typing.get_args(hint)
    if parts[-1] is Ellipsis or origin is not tuple:
      return f'a sequence, each {_describe(parts[0])}'
    return f'({", ".join(map(_describe, parts))})'
  names = {bool: 'True or False', str: 'a string', types.NoneType: 'None'}
  if origin is Callable:
    return 'a function'
  name = names.get(hint) or str(getattr(hint, '__name__', hint))
  known = dataclasses.is_dataclass(hint)
  known |= getattr(hint, '_is_protocol', False)
  return f'an instance of {name}' if known else name


def format_value(value: Any) -> str:
  """Returns the representation of a value in at most 80 characters."""
  try:
    text = ' '.join(repr(value).split())
  except Exception:  # an int of thousands of digits; an object without repr
    text = f'a {type(value).__name__} too long to print'
  return text if len(text) <= 80 else f'{text[:77]}...'
