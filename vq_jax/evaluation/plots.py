"""Plots of a sweep."""

import itertools
import os
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from vq_jax.evaluation import sweep
from vq_jax.utils import packages
from vq_jax.utils import paths

# Horizontal and vertical axis of each plot.
_AXES = (('is', 'fid'), ('recall', 'precision'))
_LABELS = {
  'is': 'Inception Score',
  'fid': 'Fréchet distance',
  'recall': 'recall',
  'precision': 'precision',
}


def plot(path: str | os.PathLike, rows: Sequence[sweep.Row]) -> list[str]:
  """Plots the numbers of a sweep, as papers show them.

  One plot is the Frechet distance against the Inception Score, the other is
  precision against recall. Points that differ only in the first option of the
  sweep are connected, and each is labelled with its value.

  Args:
    path: the image file; its suffix selects the format.
    rows: the numbers; see `sweep.run`.

  Returns:
    the metrics that are shown; without any of the pairs no file is written.

  Raises:
    MissingPackageError: if matplotlib is not installed.
  """
  axes = [
    pair for pair in _AXES if all(set(pair) <= set(r.values) for r in rows)
  ]
  if not axes:
    return []
  with packages.required_for('the plot of a sweep'):
    from matplotlib import figure

  drawing = figure.Figure(figsize=(5 * len(axes), 4), layout='constrained')
  for i, (x, y) in enumerate(axes):
    panel = drawing.add_subplot(1, len(axes), i + 1)
    panel.set_xlabel(_label(rows[0], x))
    panel.set_ylabel(_label(rows[0], y))
    panel.grid(alpha=0.3)
    for name, line in lines(rows).items():
      points = [(row.values[x], row.values[y]) for row in line]
      panel.plot(*zip(*points, strict=True), 'o-', label=name, markersize=4)
      for row, point in zip(line, points, strict=True):
        text = f'{next(iter(row.options.values()))}'
        panel.annotate(
          text, point, xytext=(3, 3), textcoords='offset points', fontsize=7
        )
    if len(rows[0].options) > 1:
      panel.legend(fontsize=7)
    panel.set_title(f'numbers: {next(iter(rows[0].options))}', fontsize=8)
  path = paths.check_file(path)
  with paths.replacing(path) as temporary:
    drawing.savefig(temporary, format=path.suffix[1:], dpi=150)
  return [*itertools.chain(*axes)]


def lines(rows: Sequence[sweep.Row]) -> Mapping[str, list[sweep.Row]]:
  """Groups rows that differ only in the first option of the sweep.

  Args:
    rows: the rows.

  Returns:
    the other options as text -> the rows, in their order.
  """
  found: dict[str, list[sweep.Row]] = {}
  for row in rows:
    _, *others = row.options.items()
    name = ', '.join(f'{option} {value}' for option, value in others)
    found.setdefault(name, []).append(row)
  return found


def _label(row: sweep.Row, metric: str) -> str:
  """Returns the name of a metric with that of its feature network."""
  result: Mapping[str, Any] = next(
    r for r in row.record['results'] if r['metric'] == metric
  )
  network = (result.get('features') or {}).get('name')
  return f'{_LABELS[metric]} ({network})' if network else _LABELS[metric]
