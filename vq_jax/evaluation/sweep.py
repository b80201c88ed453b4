"""Evaluation of a prior with all combinations of some sampling options."""

import dataclasses
import itertools
import json
import pathlib
import types
import typing
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Annotated
from typing import Any
from typing import cast

import jax

from vq_jax import samplers
from vq_jax.model import Model
from vq_jax.utils import fields
from vq_jax.utils import names
from vq_jax.utils import paths

Value = str | int | float | bool | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Combination:
  """One value of each option of a sweep.

  Attributes:
    options: name of the option -> its value.
    samplers: the samplers of all levels with these options.
  """

  options: Mapping[str, Value]
  samplers: tuple[samplers.Sampler, ...]

  @property
  def name(self) -> str:
    """The options in one word, such as 'guidance=2.0,steps=8'."""
    return ','.join(f'{name}={value}' for name, value in self.options.items())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
  """The numbers of one combination.

  Attributes:
    options: name of the option -> its value.
    values: name of the metric -> its value.
    record: the record of the evaluation, as JSON.
  """

  options: Mapping[str, Value]
  values: Mapping[str, float]
  record: Mapping[str, Any]


def plan(
  model: Model,
  sweeps: Sequence[str],
  fixed: Mapping[str, Value] | None = None,
) -> list[Combination]:
  """Reads the options of a sweep, and checks all of their values.

  Args:
    model: the prior.
    sweeps: options and their values, such as 'guidance=0,1,2'. Any option of
      the sampler can be given; `none` stands for None.
    fixed: options that have one value in all combinations.

  Returns:
    all combinations; the values of the last option change first.

  Raises:
    ValueError: if the model has no prior, an option is unknown or given
      twice, or a value is wrong.
  """
  levels = model.levels
  hints = fields.type_hints(cast(Any, type(levels[-1].sampler)))
  values: dict[str, list[Value]] = {}
  for sweep in sweeps:
    name, found = _parse(sweep, hints)
    if name in values or name in (fixed or {}):
      raise ValueError(f'the option {name} is given twice; give it once.')
    values[name] = found
  combinations = []
  for chosen in itertools.product(*values.values()):
    options = dict(zip(values, chosen, strict=True))
    combinations.append(
      Combination(
        options=options,
        samplers=tuple(
          samplers.with_options(level.sampler, {**(fixed or {}), **options})
          for level in levels
        ),
      )
    )
  return combinations


def run(
  combinations: Sequence[Combination],
  folder: pathlib.Path,
  evaluate: Callable[[Combination], Mapping[str, Any]],
  *,
  settings: Mapping[str, Any],
  report: Callable[[int, Combination, bool], None] | None = None,
) -> list[Row]:
  """Evaluates all combinations that are not evaluated yet.

  Args:
    combinations: see `plan`.
    folder: folder with a file for each combination, which is created.
    evaluate: combination -> the record of its evaluation, as JSON.
    settings: all that the numbers depend on besides the combination. A file of
      other settings is replaced.
    report: called before each combination, with its number, and whether it is
      evaluated already.

  Returns:
    a row for each combination.
  """
  rows = []
  for number, combination in enumerate(combinations):
    path = folder / f'{combination.name}.json'
    key = {**settings, 'samplers': [repr(s) for s in combination.samplers]}
    record = _read(path, key)
    if report is not None:
      report(number, combination, record is not None)
    if record is None:
      record = evaluate(combination)
      if jax.process_index() == 0:
        text = json.dumps({'settings': key, 'record': record}, indent=2)
        paths.write_text(path, text + '\n')
    values = {r['metric']: r['value'] for r in record['results']}
    rows.append(Row(options=combination.options, values=values, record=record))
  return rows


def write(path: pathlib.Path, rows: Sequence[Row]) -> None:
  """Writes the table of a sweep, with all records, as a JSON file."""
  found = [
    {**row.options, **row.values, 'record': dict(row.record)} for row in rows
  ]
  paths.write_text(path, json.dumps(found, indent=2, allow_nan=False) + '\n')


def table(rows: Sequence[Row]) -> str:
  """Returns the numbers of a sweep as a table for people."""
  metrics = list(dict.fromkeys(name for row in rows for name in row.values))
  lines = [[*rows[0].options, *metrics]]
  for row in rows:
    numbers = (row.values.get(name) for name in metrics)
    lines.append(
      [str(value) for value in row.options.values()]
      + ['' if x is None else f'{x:.4g}' for x in numbers]
    )
  lines.append(_floors(rows[0], metrics))
  widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
  return '\n'.join(
    '  '.join(cell.rjust(w) for cell, w in zip(line, widths, strict=True))
    for line in lines
    if any(line)
  )


def _floors(row: Row, metrics: Sequence[str]) -> list[str]:
  """Returns the line with the numbers of real images; '' if there are none."""
  floors = {r['metric']: r.get('floor') for r in row.record['results']}
  cells = [
    '' if floors.get(name) is None else f'{floors[name]:.4g}'
    for name in metrics
  ]
  first = ['real' if any(cells) else '']
  return first + [''] * (len(row.options) - 1) + cells


def _read(path: pathlib.Path, key: Mapping[str, Any]) -> Any:
  """Returns the record of a file with these settings; None if there is none."""
  try:
    found = json.loads(path.read_text())
  except (FileNotFoundError, json.JSONDecodeError):
    return None
  same = found.get('settings') == json.loads(json.dumps(key))
  return found['record'] if same else None


def _parse(sweep: str, hints: Mapping[str, Any]) -> tuple[str, list[Value]]:
  """Reads an option and its values."""
  name, equals, text = sweep.partition('=')
  name = name.strip().replace('-', '_')
  parts = [part.strip() for part in text.split(',')]
  if not equals or not all(parts):
    raise ValueError(
      f'a sweep is an option and its values, such as guidance=0,1,2; got '
      f'{sweep!r}.'
    )
  if name not in hints:
    raise ValueError(names.unknown('sampling option', name, hints))
  values = [_convert(name, part, hints[name]) for part in parts]
  if len(set(values)) < len(values):
    raise ValueError(f'the values of {name} must differ; got {text}.')
  return name, values


def _convert(name: str, text: str, hint: Any) -> Value:
  """Converts the text of a value to the type of its option.

  Raises:
    ValueError: if it has another type.
  """
  if typing.get_origin(hint) in (typing.Union, types.UnionType):
    parts = typing.get_args(hint)
    if types.NoneType in parts and text.lower() == 'none':
      return None
    hint = parts[0]
  if typing.get_origin(hint) is Annotated:
    hint = typing.get_args(hint)[0]
  if hint not in (int, float):
    return text
  try:
    return hint(text)
  except ValueError:
    what = 'a whole number' if hint is int else 'a number'
    raise ValueError(f'{name} must be {what}; got {text!r}.') from None
