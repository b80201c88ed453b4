"""The table of config files, read without running them."""

import ast
import dataclasses
import os
import pathlib
import re
from collections.abc import Sequence

_FOLDER = 'configs'
_SHARED = 'common'
_ARXIV = re.compile(r'arxiv\.org/abs/([\d.]*\d)')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
  """What a config file says of itself.

  Example:
    >>> vq = Entry(name='vqvae', title='A VQ-VAE.', papers=('1711.00937',))
    >>> print(table([vq]))
    config  parameters  paper       title
    vqvae               1711.00937  A VQ-VAE.

  Attributes:
    name: the name of the file without `.py`.
    title: the first line of its docstring.
    papers: the arXiv identifiers in its docstring, without repetitions.
    parameters: the number of parameters that a training of it trains, without
      a discriminator: its constant `PARAMETERS`; None if it states none.
  """

  name: str
  title: str
  papers: tuple[str, ...] = ()
  parameters: int | None = None


def find_folder(folder: str | os.PathLike | None = None) -> pathlib.Path:
  """Returns the folder of the config files.

  Args:
    folder: the folder, if it is known. By default, it is `configs` in the
      working directory or beside the package `vq_jax`.

  Raises:
    FileNotFoundError: if there is none.
  """
  beside = pathlib.Path(__file__).parents[2]
  places = [pathlib.Path(_FOLDER), beside / _FOLDER]
  if folder is not None:
    places = [pathlib.Path(folder)]
  for place in places:
    if any(place.glob('*.py')):
      return place
  raise FileNotFoundError(
    f'there are no config files in {" or ".join(map(str, places))}. They are '
    'part of the repository of vq_jax and not of the installed package: run '
    'this in a checkout of it, or name their folder.'
  )


def read(folder: str | os.PathLike) -> list[Entry]:
  """Returns an entry for each config file of a folder, in order of names.

  The files are parsed, and not executed.

  Args:
    folder: the folder.

  Raises:
    ValueError: if a file is not Python.
  """
  files = sorted(pathlib.Path(folder).glob('*.py'))
  return [_read_file(path) for path in files if path.stem != _SHARED]


def _read_file(path: pathlib.Path) -> Entry:
  """Reads the docstring and the constant of a config file."""
  try:
    tree = ast.parse(path.read_text())
  except SyntaxError as error:
    raise ValueError(f'{path} is not a Python file: {error}.') from error
  text = ast.get_docstring(tree) or ''
  parameters = [
    int(str(node.value.value))
    for node in tree.body
    if isinstance(node, ast.Assign)
    and ast.unparse(node.targets[0]) == 'PARAMETERS'
    and isinstance(node.value, ast.Constant)
  ]
  return Entry(
    name=path.stem,
    title=text.partition('\n')[0],
    papers=tuple(dict.fromkeys(_ARXIV.findall(text))),
    parameters=parameters[0] if parameters else None,
  )


def table(entries: Sequence[Entry]) -> str:
  """Returns the table: one line for each config, after a line of headings."""
  rows = [('config', 'parameters', 'paper', 'title')]
  for entry in entries:
    size = '' if entry.parameters is None else _abbreviate(entry.parameters)
    papers = ', '.join(entry.papers)
    rows.append((entry.name, size, papers, entry.title))
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  return '\n'.join(
    f'{row[0]:{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:{widths[2]}}  '
    f'{row[3]}'
    for row in rows
  )


def _abbreviate(number: int) -> str:
  """Returns a number with three digits and a unit, such as '172 M'."""
  for unit, name in ((10**9, 'G'), (10**6, 'M'), (10**3, 'k')):
    if number >= unit:
      return f'{number / unit:#.3g}'.rstrip('.') + f' {name}'
  return str(number)


def titles(folder: str | os.PathLike) -> str:
  """Returns one line for each config of a folder: its path and its title."""
  entries = read(folder)
  width = max(len(entry.name) for entry in entries)
  return '\n'.join(f'  {e.name:{width}}  {e.title}' for e in entries)
