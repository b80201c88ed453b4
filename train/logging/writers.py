"""Writes metrics, TensorBoard events and images into a run folder."""

import json
import math
import pathlib
from collections.abc import Mapping

import jax
import numpy as np

from train.logging.board import Board
from vq_jax.runs import layout
from vq_jax.utils import images as images_lib
from vq_jax.utils import paths

SAMPLES = 'samples'
HISTOGRAMS = 'histograms.json'


def read_metrics(folder: pathlib.Path) -> list[dict]:
  """Reads `metrics.jsonl`, except for a last line that is incomplete."""
  path = pathlib.Path(folder) / layout.METRICS
  if not path.is_file():
    return []
  records = []
  for line in path.read_text().splitlines():
    try:
      records.append(json.loads(line))
    except json.JSONDecodeError:
      continue
  return records


def last_evaluation(folder: pathlib.Path) -> dict[str, float]:
  """Returns the metrics of the last evaluation; {} if there was none."""
  evaluations = [r for r in read_metrics(folder) if r['kind'] == 'eval']
  if not evaluations:
    return {}
  return {k: v for k, v in evaluations[-1].items() if k not in ('step', 'kind')}


class Writer:
  """Writes the metrics and images of a run, on process 0 alone.

  Metrics after step `start`, of a process that was killed, are removed, so that
  each step is there once.
  """

  def __init__(self, folder: pathlib.Path, start: int):
    """Opens the files of a run that is resumed at step `start`."""
    self.folder = pathlib.Path(folder)
    self._active = jax.process_index() == 0
    if not self._active:
      return
    kept = [r for r in read_metrics(self.folder) if r['step'] <= start]
    text = ''.join(json.dumps(record) + '\n' for record in kept)
    paths.write_text(self.folder / layout.METRICS, text)
    self._file = open(self.folder / layout.METRICS, 'a', buffering=1)
    self._board = Board(self.folder / 'tensorboard', start)

  def metrics(self, step: int, kind: str, values: Mapping[str, float]) -> None:
    """Writes one line; `kind` is 'train' or 'eval'."""
    if not self._active:
      return
    values = {name: float(value) for name, value in values.items()}
    # JSON has no NaN.
    plain = {k: v if math.isfinite(v) else None for k, v in values.items()}
    line = json.dumps({'step': step, 'kind': kind, **plain})
    self._file.write(line + '\n')
    for name, value in values.items():
      self._board.add_scalar(f'{kind}/{name}', value, step)

  def images(self, step: int, grids: Mapping[str, np.ndarray]) -> None:
    """Writes `samples/<name>_<step>.png`."""
    if not self._active:
      return
    for name, grid in grids.items():
      path = self.folder / SAMPLES / f'{name}_{step:08d}.png'
      images_lib.save_image(path, grid)
      self._board.add_image(name, grid, step)

  def histograms(self, step: int, counts: Mapping[str, np.ndarray]) -> None:
    """Writes the latest counts by name, such as those of codes."""
    if not self._active or not counts:
      return
    plain = {name: np.asarray(c).tolist() for name, c in counts.items()}
    text = json.dumps({'step': step, **plain})
    paths.write_text(self.folder / HISTOGRAMS, text)

  def close(self) -> None:
    """Closes the files."""
    if self._active:
      self._file.close()
      self._board.close()

  def __enter__(self) -> 'Writer':
    """Returns itself."""
    return self

  def __exit__(self, *exception) -> None:
    """Closes the files."""
    self.close()
