"""Paths: local or remote; output files, which are written atomically."""

import contextlib
import os
import pathlib
from collections.abc import Iterator


def make(path: str | os.PathLike) -> pathlib.Path:
  """Returns a path as an object, also of a file in Google Cloud Storage.

  Args:
    path: a local path, or an address that starts with `gs://`.

  Returns:
    an absolute or relative `pathlib.Path`, or an `etils.epath.Path`, which has
    the same methods.
  """
  if os.fspath(path).startswith('gs://'):
    from etils import epath  # Orbax's own paths

    return epath.Path(path)
  return pathlib.Path(path)


def get_cache_folder() -> pathlib.Path:
  """Returns the folder in which downloaded files are kept."""
  home = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
  return pathlib.Path(home).expanduser() / 'vq_jax'


def check_file(path: str | os.PathLike) -> pathlib.Path:
  """Checks that a file can be written; its folder need not exist yet.

  Args:
    path: the file.

  Returns:
    `path` as a `pathlib.Path`.

  Raises:
    ValueError: if the path holds a zero character.
    OSError: if it is a folder, or lies in a file or in a folder that nothing
      can be written to.
  """
  path = pathlib.Path(path)
  if '\0' in str(path):
    raise ValueError(f'{str(path)!r} is no path: it holds a zero character.')
  if path.is_dir():
    raise IsADirectoryError(f'{path} is a folder; give the name of a file.')
  above = path.absolute().parents
  there = next(folder for folder in above if folder.exists())
  if not there.is_dir():
    raise NotADirectoryError(f'{there} is a file, and no folder can be in it.')
  if not os.access(there, os.W_OK | os.X_OK):
    raise PermissionError(f'nothing can be written to the folder {there}.')
  return path


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
  """Writes a file atomically: readers see the old or the new file.

  The folder of the file is created if it does not exist.

  Example:
    >>> import pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> with replacing(folder / 'new' / 'a.txt') as temporary:
    ...   _ = temporary.write_text('text')
    >>> [path.name for path in (folder / 'new').iterdir()]
    ['a.txt']

  Args:
    path: the file.

  Yields:
    A temporary path in the same folder. When the block ends, it is renamed to
    `path`; when the block raises an error, it is removed.
  """
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f'.{path.name}.{os.getpid()}')
  try:
    yield temporary
    temporary.replace(path)
  finally:
    temporary.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
  """Writes a binary file atomically; see `replacing`."""
  with replacing(path) as temporary:
    temporary.write_bytes(content)


def write_text(path: str | os.PathLike, text: str) -> None:
  """Writes a text file in UTF-8 atomically; see `replacing`."""
  write_bytes(path, text.encode())
