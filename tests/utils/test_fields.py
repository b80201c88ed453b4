"""Laws of the checks of fields and arguments."""

import dataclasses
import fractions
import math
from collections.abc import Callable
from collections.abc import Sequence
from typing import Annotated
from typing import Any
from typing import Literal
from typing import Protocol
from typing import runtime_checkable

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from vq_jax.utils import fields

law = hypothesis.settings(max_examples=200, deadline=None, derandomize=True)

HUGE = 10**400
ABOVE_ZERO = Annotated[float, fields.Range(above=0, most=1)]


@dataclasses.dataclass(frozen=True)
class Inner:
  size: int = 1


@runtime_checkable
class Quacks(Protocol):
  def quack(self) -> str:
    """Quacks."""


class Duck:
  def quack(self) -> str:
    return 'quack'


def fits(value: Any, hint: Any) -> bool:
  try:
    fields.check_value('field', value, hint)
  except ValueError as error:
    message = str(error)
    assert message.startswith('field must be ') and '; got ' in message
    assert len(message.splitlines()) == 1 and message.endswith('.')
    return False
  return True


NO_NUMBERS = (
  None, True, False, np.True_, 'a', '1', b'1', [], [1], (1,), {}, 1j,
  np.array(1), np.array([1, 2]), object(), int,
)  # fmt: skip
NOT_FINITE = (
  math.nan,
  math.inf,
  -math.inf,
  np.float32('nan'),
  np.float16('inf'),
)
SMALL_NUMBERS = (
  np.int8(2), np.uint8(2), np.int64(2), np.uint64(2), 2,
)  # fmt: skip


@pytest.mark.parametrize('hint', [int, float, fields.Seed, fields.Fraction])
@pytest.mark.parametrize('value', [*NO_NUMBERS, *NOT_FINITE])
def test_only_finite_numbers_are_accepted(hint, value):
  assert not fits(value, hint)


@pytest.mark.parametrize('value', SMALL_NUMBERS)
@pytest.mark.parametrize(
  ('hint', 'holds'),
  [
    (int, True),
    (float, True),
    (fields.PositiveInt, True),
    (fields.NonNegativeInt, True),
    (fields.PositiveFloat, True),
    (fields.NonNegativeFloat, True),
    (fields.Seed, True),
    (fields.Fraction, False),
    (Annotated[int, fields.Range(least=3)], False),
    (Annotated[float, fields.Range(above=2)], False),
  ],
)
def test_whole_numbers_of_any_library(value, hint, holds):
  assert fits(value, hint) == holds


@pytest.mark.parametrize(
  'value', [0.5, np.float16(0.5), np.float32(0.5), np.longdouble(0.5),
            fractions.Fraction(1, 2)],
)  # fmt: skip
def test_a_fraction_is_a_number_but_not_a_whole_one(value):
  assert fits(value, float) and fits(value, fields.Fraction)
  assert fits(value, Annotated[float, fields.Range(least=-1e6, most=1e300)])
  for hint in (int, fields.PositiveInt, fields.Seed):
    assert not fits(value, hint) and not fits(type(value)(2), hint)


def test_huge_numbers():
  assert fits(HUGE, int) and fits(-HUGE, int) and fits(HUGE, fields.PositiveInt)
  assert not fits(HUGE, fields.Seed)
  for value in (HUGE, -HUGE, fractions.Fraction(HUGE, 3)):
    for hint in (float, fields.PositiveFloat, fields.NonNegativeFloat):
      assert not fits(value, hint)  # no float is so large
  assert not fits(10**5000, float)  # and no decimal of it is printed
  assert not fits([10**5000], fields.Seed)


def test_the_smallest_numbers():
  for value in (5e-324, 1e-45, 2.0**-1074, np.float32(1e-45)):
    assert fits(value, fields.PositiveFloat) and fits(value, fields.Fraction)
  for value in (0, 0.0, -0.0, np.float16(0)):
    assert fits(value, fields.NonNegativeFloat)
    assert not fits(value, fields.PositiveFloat)
  assert not fits(-5e-324, fields.NonNegativeFloat)


@law
@hypothesis.given(
  st.one_of(st.integers(), st.floats(), st.fractions()),
  st.integers(-5, 5),
  st.integers(-5, 5),
  st.one_of(st.none(), st.integers(-5, 5)),
)
def test_a_range_holds_what_lies_in_it(value, least, most, above):
  bounds = fields.Range(least=least, most=most, above=above)
  inside = math.isfinite(value) and least <= value <= most
  inside = inside and (above is None or value > above)
  # Fractions a rounding error beyond a bound are taken for the bound.
  if not isinstance(value, fractions.Fraction):
    assert fits(value, Annotated[float, bounds]) == inside
    whole = isinstance(value, int)
    assert fits(value, Annotated[int, bounds]) == (inside and whole)


@pytest.mark.parametrize(
  ('hint', 'good', 'bad'),
  [
    (fields.Seed, [0, 2**32 - 1], [-1, 2**32, 0.0]),
    (bool, [True, False, np.True_], [0, 1, 'True', None, np.array(True)]),
    (str, ['', 'a', np.str_('a')], [None, b'a', 1, ['a']]),
    (None | int, [None, 3], [True, 2.5, 'None']),
    (fields.PositiveInt | None, [None, 1], [0, -1, math.nan, '']),
    (str | fields.Fraction, ['x', 0.5], [2, None, ['x']]),
    (
      Literal['a', 'b'],
      ['a', np.str_('b')],
      ['', 'ab', None, 0, True, ['a'], np.array(['a', 'b']), np.zeros(3)],
    ),
    (Literal[1, 3], [1, 3, np.int8(3)], [2, True, 1.0, '1', np.array([1, 3])]),
    (Literal[None, 'a'], [None, 'a'], [0, False, 'None']),
    (tuple[int, float], [(1, 2.0), [1, 2]], [(1,), (1.5, 2), 'ab', 1, None]),
    (tuple[int, ...], [(), (1, 2)], [(1.5,), ((1,),), 'ab', (True,), {1}]),
    (Sequence[fields.PositiveInt], [[], (1,)], [[0], 'ab', 3, [math.nan]]),
    (list[str], [[], ['a']], ['ab', [1], None]),
    (Callable[[int], int], [abs, Inner, lambda x: x], [None, 'abs', 3]),
    (Inner, [Inner()], [Inner, None, {'size': 1}, 'Inner']),
    (Quacks, [Duck()], [Duck, Inner(), None, 'Duck']),
    (Quacks | None, [Duck(), None], [Duck, 0]),
  ],
)  # fmt: skip
def test_each_kind_of_annotation(hint, good, bad):
  for value in good:
    assert fits(value, hint), value
  for value in bad:
    assert not fits(value, hint), value


def test_other_annotations_are_left_alone():
  for hint in (Any, np.ndarray, object, dict, tuple):
    assert fits(object(), hint) and fits(math.nan, hint)


@pytest.mark.parametrize(
  ('hint', 'description'),
  [
    (int, 'a whole number'),
    (float, 'a finite number'),
    (fields.PositiveInt, 'a whole number of at least 1'),
    (fields.PositiveFloat, 'a finite number in (0, infinity)'),
    (fields.Fraction, 'a finite number in [0, 1]'),
    (fields.Seed, 'a whole number in [0, 4294967295]'),
    (ABOVE_ZERO, 'a finite number in (0, 1]'),
    (Annotated[int, fields.Range(most=7)], 'a whole number of at most 7'),
    (fields.PositiveInt | None, 'a whole number of at least 1 or None'),
    (Literal['cap', 'rescale'], "'cap' or 'rescale'"),
    (bool, 'True or False'),
    (str | None, 'a string or None'),
    (tuple[int, float], '(a whole number, a finite number)'),
    (Sequence[int], 'a sequence, each a whole number'),
    (Callable[..., int] | None, 'a function or None'),
    (Inner, 'an instance of Inner'),
    (Quacks, 'an instance of Quacks'),
  ],
)  # fmt: skip
def test_the_message_says_what_a_value_must_be(hint, description):
  with pytest.raises(ValueError) as error:
    fields.check_value('the field', 1j, hint)
  assert str(error.value) == f'the field must be {description}; got 1j.'


def test_a_value_is_shown_in_a_short_line():
  assert fields.format_value('a\nb') == r"'a\nb'"
  for value in (np.zeros((50, 50)), 'x' * 999, 10**5000, [10**5000]):
    text = fields.format_value(value)
    assert len(text) <= 80 and len(text.splitlines()) == 1

  class Shy:
    def __repr__(self):
      raise RuntimeError

  assert fields.format_value(Shy()) == 'a Shy too long to print'


class OtherError(ValueError):
  """Raised instead."""


@dataclasses.dataclass(frozen=True)
class Sampler:
  steps: fields.PositiveInt = 8
  scale: tuple[float, float] = (0.0, 1.0)
  greedy: bool = False
  label: Any = None

  def __post_init__(self):
    fields.check(self, error=OtherError)


@dataclasses.dataclass(frozen=True)
class Child(Sampler):
  heat: fields.Fraction = 0.5


def test_a_dataclass_checks_all_its_fields_and_those_it_inherits():
  Child(steps=1, heat=1)
  with pytest.raises(OtherError, match='steps must be a whole number of at le'):
    Child(steps=0)
  with pytest.raises(OtherError, match='heat must be'):
    Child(heat=2)


def test_numbers_of_numpy_become_pythons_own():
  """Equal ones are one program under jit, so they must compute alike."""
  made = Sampler(steps=np.int8(3), scale=(np.float32(0.5), 1), greedy=np.True_)
  assert made == Sampler(steps=3, scale=(0.5, 1), greedy=True)
  assert type(made.steps) is int and type(made.greedy) is bool
  assert [type(x) for x in made.scale] == [float, int]
  assert type(Child(heat=np.float64(0.5)).heat) is float
  assert type(Child(heat=fractions.Fraction(1, 2)).heat) is float
  kept = [1, 2]
  assert fields.check_value('x', kept, list[int]) is kept


def test_arguments_of_a_function():
  @fields.checked(error=OtherError)
  def sample(x: Any, num: fields.PositiveInt, *, seed: fields.Seed = 0):
    """Samples."""
    return x, num, seed

  assert sample('x', np.int8(2)) == ('x', 2, 0)
  assert type(sample('x', num=np.int8(2))[1]) is int
  assert sample.__doc__ == 'Samples.'
  with pytest.raises(OtherError, match='num must be .* at least 1; got 0'):
    sample('x', 0)
  with pytest.raises(OtherError, match='seed must be'):
    sample('x', 1, seed=1.5)
  with pytest.raises(TypeError, match='missing'):
    sample('x')

  @fields.checked
  def plain(num: int):
    return num

  with pytest.raises(ValueError, match='num must be a whole number; got None'):
    plain(None)


def test_arguments_by_name():
  assert fields.check_arguments(Child, {'steps': 3, 'other': 'x'}) == {
    'steps': 3,
    'other': 'x',
  }
  with pytest.raises(OtherError, match='^config.steps must be'):
    fields.check_arguments(
      Child, {'steps': 'x'}, where='config.', error=OtherError
    )
