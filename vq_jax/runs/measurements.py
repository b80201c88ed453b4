"""What was measured of a run, for those who have a copy of it alone.

A training writes `metrics.jsonl`, and evaluations write `evaluation/*.json`.
Copies of a run, within that of a prior or in an export, hold a summary of both,
`measurements.json`.
"""

import json
import pathlib
from collections.abc import Iterator
from collections.abc import Mapping
from typing import Any

from vq_jax.runs import layout
from vq_jax.utils import paths

NAME = 'measurements.json'
_EVALUATIONS = 'evaluation'
_NO_QUALITY = ('images_per_second', 'learning_rate', 'grad_norm', 'data_wait')


def read(folder: pathlib.Path) -> dict[str, dict[str, Any]]:
  """Reads what was measured of a run.

  Args:
    folder: the run folder, or that of a copy.

  Returns:
    `metrics`: `step` and the last metrics of each kind, such as `eval psnr`;
    `evaluations`: the name of each evaluation -> its results, see
    `vq_jax.evaluation.Result`, without the folders of data sets. Both are
    empty if nothing is known.
  """
  found: dict[str, dict[str, Any]] = {'metrics': {}, 'evaluations': {}}
  if (folder / NAME).is_file():
    found |= json.loads((folder / NAME).read_text())
  found['metrics'] |= _read_last_metrics(folder)
  found['evaluations'] |= dict(_read_evaluations(folder))
  return found


def copy(origin: pathlib.Path, folder: pathlib.Path) -> None:
  """Writes the summary of a run, and of those within it, into a copy.

  Args:
    origin: the run folder.
    folder: that of the copy, which may lack some of the runs within it.
  """
  found = read(origin)
  if any(found.values()):
    paths.write_text(folder / NAME, json.dumps(found, indent=2) + '\n')
  for name in layout.COPIES:
    if (origin / name).is_dir() and (folder / name).is_dir():
      copy(origin / name, folder / name)


def _read_last_metrics(folder: pathlib.Path) -> dict[str, Any]:
  path = folder / layout.METRICS
  found: dict[str, Any] = {}
  for line in path.read_text().splitlines() if path.is_file() else ():
    try:
      row = json.loads(line)
    except ValueError:  # the last line of a training that was killed
      continue
    kind = row.pop('kind', 'train')
    found['step'] = row.pop('step', 0)
    found |= {
      f'{kind} {name.replace("_", " ")}': value
      for name, value in row.items()
      if name not in _NO_QUALITY and isinstance(value, int | float)
    }
  return found


def _read_evaluations(folder: pathlib.Path) -> Iterator[tuple[str, list]]:
  folder = folder / _EVALUATIONS
  for path in sorted(folder.glob('*.json')) if folder.is_dir() else ():
    record = json.loads(path.read_text())
    if isinstance(record, Mapping) and isinstance(record.get('results'), list):
      yield path.stem, [_summarize(result) for result in record['results']]


def _summarize(result: Mapping[str, Any]) -> dict[str, Any]:
  """Returns what the model card shows of a result."""
  names = ('kind', 'metric', 'value', 'floor', 'samples')
  parts = (result.get('features'), result.get('reference'))
  return {
    **{name: result.get(name) for name in names},
    'measured with': [
      layout.remove_folders(part['name']) for part in parts if part
    ],
  }
