"""Files that are written: checked before long work, and never half there."""

import os
import pathlib


def check_file(path: str | os.PathLike) -> pathlib.Path:
  """Returns the path of a file that can be written, perhaps in a new folder.

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


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
  """Writes a file such that a reader sees the old or the new, never half."""
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f'.{path.name}.{os.getpid()}')
  try:
    temporary.write_bytes(content)
    temporary.replace(path)
  finally:
    temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> None:
  """Writes a text in UTF-8; see `write_bytes`."""
  write_bytes(path, text.encode())
