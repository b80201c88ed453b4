"""A page with the image grids that a training writes while it runs."""

import base64
import dataclasses
import html
import os
import pathlib
import re
import time
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence

from vq_jax.runs import layout
from vq_jax.runs import locations
from vq_jax.utils import paths

PAGE = 'samples.html'
_GRIDS = 'samples'
_NAME = re.compile(r'(?P<name>.+)_(?P<step>\d+)\.png')
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px;
       margin: 2em auto; padding: 0 1em; color: #222; }
h1, h2 { font-weight: 600; } figure { margin: 0; }
figcaption { color: #666; font-size: 13px; }
img { max-width: 100%; image-rendering: pixelated; border: 1px solid #ddd; }
.earlier { display: grid; gap: 1em; margin-top: 1em;
           grid-template-columns: repeat(auto-fill, minmax(240px, 1fr)); }
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid:
  """An image grid that a training has written.

  Example:
    >>> import pathlib
    >>> Grid(path=pathlib.Path('a_0002.png'), name='a', step=2)
    Grid(path=PosixPath('a_0002.png'), name='a', step=2)

  Attributes:
    path: the image file.
    name: what it shows, such as 'reconstructions'.
    step: the training step after which it was written.
  """

  path: pathlib.Path
  name: str
  step: int


def find_grids(folder: str | os.PathLike) -> list[Grid]:
  """Returns the grids of a run, the latest steps first.

  Args:
    folder: the run folder.

  Raises:
    RunError: if it is not a run folder.
  """
  layout.read_config(locations.resolve(folder))
  found = []
  for path in (pathlib.Path(folder) / _GRIDS).glob('*.png'):
    match = _NAME.fullmatch(path.name)
    if match:
      step = int(match['step'])
      found.append(Grid(path=path, name=match['name'], step=step))
  return sorted(found, key=lambda grid: (-grid.step, grid.name))


def writes_grids(folder: str | os.PathLike) -> bool:
  """Returns whether the config of a run lets its training write grids.

  Args:
    folder: the run folder.

  Raises:
    RunError: if it is not a run folder.
  """
  config = layout.read_config(locations.resolve(folder))['config']
  return config.get('train', {}).get('num_images') != 0


def write_page(
  folder: str | os.PathLike,
  grids: Sequence[Grid],
  *,
  shown: int = 12,
  refresh: float | None = None,
) -> pathlib.Path:
  """Writes `samples.html` into the run folder: one file, with all images in it.

  Args:
    folder: the run folder.
    grids: the grids of the run, the latest first.
    shown: the largest number of grids of each name.
    refresh: seconds after which a browser reads the page again; None for never.

  Returns:
    the path of the page.
  """
  by_name: dict[str, list[Grid]] = {}
  for grid in grids:
    by_name.setdefault(grid.name, []).append(grid)
  title = html.escape(pathlib.Path(folder).resolve().name)
  parts = [f'<h1>{title}</h1>']
  for name, found in by_name.items():
    latest, *earlier = map(_figure, found[:shown])
    parts.append(f'<h2>{html.escape(name)}</h2>{latest}')
    parts.append(f'<div class="earlier">{"".join(earlier)}</div>')
  again = ''
  if refresh is not None:
    again = f'<meta http-equiv="refresh" content="{refresh:g}">'
  page = pathlib.Path(folder) / PAGE
  text = (
    f'<!doctype html><html lang="en"><head><meta charset="utf-8">{again}'
    f'<title>{title}</title><style>{_STYLE}</style></head>'
    f'<body>{"".join(parts)}</body></html>'
  )
  paths.write_text(page, text)
  return page


def _figure(grid: Grid) -> str:
  data = base64.b64encode(grid.path.read_bytes()).decode()
  return (
    f'<figure><img alt="{html.escape(grid.name)}" '
    f'src="data:image/png;base64,{data}">'
    f'<figcaption>step {grid.step}</figcaption></figure>'
  )


def watch(
  folder: str | os.PathLike,
  *,
  seconds: float,
  shown: int = 12,
  sleep: Callable[[float], None] = time.sleep,
) -> Iterator[list[Grid]]:
  """Writes the page again whenever a training has written grids.

  Args:
    folder: the run folder.
    seconds: the time between two looks at the folder.
    shown: see `write_page`.
    sleep: waits for a number of seconds.

  Yields:
    the new grids, the earliest first: at once those that are there, then those
    that were written since. It never ends.
  """
  known: set[tuple[str, float]] = set()
  while True:
    grids = find_grids(folder)
    stamps = {(str(g.path), g.path.stat().st_mtime): g for g in grids}
    new = [grid for stamp, grid in stamps.items() if stamp not in known]
    known = set(stamps)
    if new:
      write_page(folder, grids, shown=shown, refresh=seconds)
      yield new[::-1]
    sleep(seconds)
