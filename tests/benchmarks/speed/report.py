"""The table and the JSON of a benchmark, written after each item."""

import importlib.metadata
import json
import pathlib
import platform
import sys
from typing import Any

COLUMNS = (
  'item',
  'batch',
  'ms',
  'images/s',
  'of the matrix rate',
  'GiB',
  'compiled in',
  'PyTorch: images/s',
  'ratio',
  '',
)
_PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'torch')


def get_versions() -> dict[str, str]:
  """Returns the versions of Python and of the packages that are installed."""
  found = {'python': platform.python_version()}
  for name in _PACKAGES:
    try:
      found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      continue
  return found


class Report:
  """Prints a line of a table for each item, and keeps all results in a file.

  Attributes:
    content: everything, as it is written in JSON.
  """

  def __init__(self, path: pathlib.Path | None, command: str):
    """Starts the report.

    Args:
      path: file that is written after each item; None for none.
      command: what was run.
    """
    self._path = path
    self.content: dict[str, Any] = {
      'command': command,
      'versions': get_versions(),
      'machine': None,
      'items': {},
    }
    print('| ' + ' | '.join(COLUMNS) + ' |')
    print('|---' * len(COLUMNS) + '|', flush=True)

  def set_machine(self, machine: dict[str, Any]) -> None:
    """Records the device, and what it was measured to do in each process."""
    if self.content['machine'] is None:
      self.content['machine'] = {**machine, 'rates': []}
    self.content['machine']['rates'].append(machine['rate_of_one'])
    self._write()

  def add(self, name: str, figures: dict[str, Any]) -> None:
    """Records an item and prints its line."""
    self.content['items'][name] = figures
    print(format_line(name, figures), flush=True)
    self._write()

  def finish(self, summarize=None) -> None:
    """Prints what was measured of the machine, and everything in one line.

    Args:
      summarize: all figures -> more lines.
    """
    machine = self.content['machine']
    if machine is not None:
      rates = ', '.join(f'{rate / 1e12:.4g}' for rate in machine['rates'])
      print(
        f'\n{machine["devices"]} x {machine["kind"]} ({machine["platform"]}), '
        f'{machine["dtype"]}; products of matrices: {rates} TFLOP/s'
      )
    for line in summarize(self.content['items']) if summarize else ():
      print(line)
    print(json.dumps(self.content), flush=True)

  def _write(self) -> None:
    if self._path is not None:
      self._path.write_text(json.dumps(self.content, indent=2) + '\n')


def format_line(name: str, figures: dict[str, Any]) -> str:
  """Returns the line of an item in the table."""

  def get(key: str, form: str, unit: float = 1) -> str:
    value = figures.get(key)
    return '' if value is None else format(value / unit, form)

  rate, peer = figures.get('images_per_s'), figures.get('peer_images_per_s')
  cells = [
    name,
    get('batch', '.0f'),
    get('ms', '.4g'),
    get('images_per_s', '.4g'),
    get('share', '.1%'),
    get('memory', '.3g', 2**30),
    get('compile_s', '.0f') + (' s' if 'compile_s' in figures else ''),
    get('peer_images_per_s', '.4g'),
    f'{rate / peer:.2f}' if rate and peer else '',
    _get_note(figures),
  ]
  return '| ' + ' | '.join(cells) + ' |'


def _get_note(figures: dict[str, Any]) -> str:
  if 'error' in figures:
    return f'FAILED: {figures["error"]:.300}'.replace('|', '/')
  return figures.get('note', '')


def explain(error: BaseException) -> str:
  """Returns an error in one line."""
  return f'{type(error).__name__}: {" ".join(str(error).split())}'


def warn(text: str) -> None:
  """Prints a message beside the table."""
  print(text, file=sys.stderr, flush=True)
