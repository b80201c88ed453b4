"""Writes `report.html`: one file that shows a run, without a network."""

import base64
import html
import json
import pathlib
from collections.abc import Sequence

import jax
import numpy as np

from train.logging import writers
from train.skipping import SKIPPED
from vq_jax.runs import layout
from vq_jax.utils import paths

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px;
       margin: 2em auto; padding: 0 1em; color: #222; }
h1, h2 { font-weight: 600; } h2 { margin-top: 2em; }
.grid { display: flex; flex-wrap: wrap; gap: 1em; }
figure { margin: 0; } figcaption { color: #666; font-size: 13px; }
img { max-width: 100%; image-rendering: pixelated; border: 1px solid #ddd; }
svg { background: #fafafa; border: 1px solid #ddd; }
td, th { padding: .15em 1em .15em 0; text-align: left; }
pre { background: #fafafa; border: 1px solid #ddd; padding: 1em;
      overflow: auto; font-size: 13px; }
"""


def write(folder: pathlib.Path) -> None:
  """Writes the report of a run from the files in its folder."""
  if jax.process_index() != 0:
    return
  config = layout.read_config(folder)
  records = writers.read_metrics(folder)
  parts = [
    f'<h1>{html.escape(folder.resolve().name)}</h1>',
    _last_evaluation(records),
    _skipped_steps(records),
    '<h2>Images</h2>',
    _image_grids(folder),
    '<h2>Held-out images</h2>',
    _curves(records, 'eval'),
    '<h2>Training</h2>',
    _curves(records, 'train'),
    _histograms(folder),
    '<h2>Config</h2>',
    f'<pre>{html.escape(json.dumps(config, indent=2))}</pre>',
  ]
  page = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    f'<title>{html.escape(folder.resolve().name)}</title>'
    f'<style>{_STYLE}</style></head><body>{"".join(parts)}</body></html>'
  )
  paths.write_text(folder / 'report.html', page)


def _last_evaluation(records: Sequence[dict]) -> str:
  last = [r for r in records if r['kind'] == 'eval'][-1:]
  if not last:
    return '<p>No evaluation yet.</p>'
  rows = ''.join(
    f'<tr><td>{html.escape(name)}</td><td>{_number(value)}</td></tr>'
    for name, value in last[0].items()
    if name not in ('step', 'kind')
  )
  return f'<p>Last evaluation, step {last[0]["step"]}:</p><table>{rows}</table>'


def _skipped_steps(records: Sequence[dict]) -> str:
  """Returns how many steps were skipped and when, or '' if none was."""
  found = {r['step']: r[SKIPPED] for r in records if r.get(SKIPPED)}
  if not found:
    return ''
  return (
    f'<p>{sum(found.values()):.0f} training steps were skipped, because their '
    'gradients were not finite or too large; the last of them up to step '
    f'{max(found)}.</p>'
  )


def _number(value: float | None) -> str:
  return 'not finite' if value is None else f'{value:.5g}'


def _image_grids(folder: pathlib.Path, shown: int = 5) -> str:
  """Returns the grids of each name over time, the latest one first."""
  paths = sorted((folder / writers.SAMPLES).glob('*.png'), reverse=True)
  by_name: dict[str, list[pathlib.Path]] = {}
  for path in paths:
    by_name.setdefault(path.stem.rsplit('_', 1)[0], []).append(path)
  figures = []
  for found in by_name.values():
    steps = min(shown, len(found))
    at = np.linspace(0, len(found) - 1, steps).round().astype(int)
    figures += [_figure(found[i]) for i in at]
  return f'<div class="grid">{"".join(figures)}</div>'


def _figure(path: pathlib.Path) -> str:
  name, step = path.stem.rsplit('_', 1)
  data = base64.b64encode(path.read_bytes()).decode()
  return (
    f'<figure><img alt="{html.escape(name)}" '
    f'src="data:image/png;base64,{data}">'
    f'<figcaption>{html.escape(name)}, step {int(step)}</figcaption></figure>'
  )


def _curves(records: Sequence[dict], kind: str) -> str:
  series: dict[str, list[tuple[float, float]]] = {}
  for record in records:
    if record['kind'] != kind:
      continue
    for name, value in record.items():
      if name not in ('step', 'kind') and value is not None:
        series.setdefault(name, []).append((record['step'], value))
  plots = [
    f'<figure>{_plot(points)}<figcaption>{html.escape(name)}</figcaption>'
    '</figure>'
    for name, points in sorted(series.items())
  ]
  return f'<div class="grid">{"".join(plots)}</div>'


def _histograms(folder: pathlib.Path) -> str:
  path = folder / writers.HISTOGRAMS
  if not path.is_file():
    return ''
  counts = json.loads(path.read_text())
  step = counts.pop('step')
  figures = []
  for name, values in counts.items():
    ordered = sorted(values, reverse=True)
    total = max(sum(ordered), 1)
    points = [(i, value / total) for i, value in enumerate(ordered)]
    figures.append(
      f'<figure>{_plot(points, filled=True)}<figcaption>{html.escape(name)}: '
      'fraction of each code, most used first</figcaption></figure>'
    )
  return (
    f'<h2>Codebook, step {step}</h2><div class="grid">{"".join(figures)}</div>'
  )


def _plot(
  points: Sequence[tuple[float, float]], *, filled: bool = False
) -> str:
  """Returns a curve as SVG, with the limits of both axes as labels."""
  width, height, left, bottom, top = 320, 190, 62, 22, 10
  xs, ys = [x for x, _ in points], [y for _, y in points]
  x0, x1, y0, y1 = min(xs), max(xs), min(ys), max(ys)
  y0 = min(y0, 0) if filled else y0

  def to_pixels(x, y):
    px = left + (x - x0) / ((x1 - x0) or 1) * (width - left - 10)
    py = height - bottom - (y - y0) / ((y1 - y0) or 1) * (height - bottom - top)
    return f'{px:.1f},{py:.1f}'

  line = [to_pixels(x, y) for x, y in points]
  if filled:
    line = [to_pixels(x0, y0), *line, to_pixels(x1, y0)]
  fill = '#9bc' if filled else 'none'
  shape = (
    f'<polyline points="{" ".join(line)}" fill="{fill}" stroke="#258" '
    'stroke-width="1.5"/>'
  )
  if len(points) == 1:
    cx, cy = line[0].split(',')
    shape = f'<circle cx="{cx}" cy="{cy}" r="3" fill="#258"/>'
  label = '<text x="{}" y="{}" font-size="11" text-anchor="{}">{:.4g}</text>'
  labels = [
    label.format(left - 4, top + 8, 'end', y1),
    label.format(left - 4, height - bottom, 'end', y0),
    label.format(left, height - 6, 'start', x0),
    label.format(width - 10, height - 6, 'end', x1),
  ]
  return (
    f'<svg width="{width}" height="{height}" '
    f'viewBox="0 0 {width} {height}">{shape}{"".join(labels)}</svg>'
  )
