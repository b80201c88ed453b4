"""The SHA-256 of the files of checkpoints and exports, to find damaged ones.

Orbax renames a checkpoint to its name once all of it is written, which protects
from killed processes. It does not notice a file that a full or failing disk, a
power failure or an incomplete copy has changed later, unless the format of that
file happens to have a checksum. Therefore each checkpoint holds a list in the
format of sha256sum: `sha256sum --check SHA256SUMS` checks it, too.

An exported run has a list of all its files, `checksums.json`.
"""

import hashlib
import json
import pathlib
from collections.abc import Collection
from collections.abc import Iterator

from vq_jax.runs.layout import RunError
from vq_jax.utils import paths

NAME, EXPORT = 'SHA256SUMS', 'checksums.json'

# Orbax writes both after the list, as the last files of a checkpoint. The first
# holds the times of the save, the second one line.
_WRITTEN_LATER = ('_CHECKPOINT_METADATA', 'commit_success.txt')

# The model card, which may be edited after the export.
_CARD = 'README.md'


def write(folder: pathlib.Path) -> None:
  """Writes the list of a checkpoint.

  Args:
    folder: the folder of the checkpoint, to which nothing is written any more.

  Example:
    >>> import tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / 'weights').write_text('0.5')
    >>> write(folder)
    >>> print(find_damage(folder))
    None
    >>> _ = (folder / 'weights').write_text('0.6')
    >>> find_damage(folder)
    'the content of weights is not what was saved'
  """
  lines = [f'{_hash(folder / name)}  {name}\n' for name in _list_files(folder)]
  paths.write_text(folder / NAME, ''.join(lines))


def find_damage(
  folder: pathlib.Path, items: Collection[str] | None = None
) -> str | None:
  """Compares the files of a checkpoint with its list.

  A checkpoint of an earlier version of this library has no list. Nothing is
  known of its files then, and None is returned.

  Args:
    folder: the folder of the checkpoint.
    items: names of the items whose files are compared; None for all files.

  Returns:
    what is wrong with the first file that differs, or None.
  """
  path = folder / NAME
  if not path.is_file():
    return None
  try:
    listed = _read(path)
    for name in sorted({*listed, *_list_files(folder)}):
      if items is not None and name.split('/')[0] not in items:
        continue
      if name not in listed:
        return f'{name} is not in {NAME}'
      if not (folder / name).is_file():
        return f'the file {name} is missing'
      if _hash(folder / name) != listed[name]:
        return f'the content of {name} is not what was saved'
  except OSError as error:  # of a failing disk
    return f'it cannot be read ({error})'
  return None


def write_export(folder: pathlib.Path) -> None:
  """Writes the list of an exported run: name of each file -> SHA-256.

  Args:
    folder: the run folder, which is complete otherwise.
  """
  found = {
    path.relative_to(folder).as_posix(): _hash(path)
    for path in sorted(folder.rglob('*'))
    if path.is_file() and path not in (folder / EXPORT, folder / _CARD)
  }
  paths.write_text(folder / EXPORT, json.dumps(found, indent=2) + '\n')


def check_export(folder: pathlib.Path) -> None:
  """Compares the files of an exported run with its list.

  Other runs have no such list, and nothing is compared.

  Args:
    folder: the run folder.

  Raises:
    RunError: if a listed file is missing or has another content.
  """
  path = folder / EXPORT
  if not path.is_file():
    return
  try:
    for name, digest in json.loads(path.read_text()).items():
      if not (folder / name).is_file():
        raise RunError(f'the file {name} is missing')
      if _hash(folder / name) != digest:
        raise RunError(f'the content of {name} is not what was exported')
  except (AttributeError, OSError, ValueError) as error:
    raise RunError(
      f'{folder} is damaged: {error}. Copy or download it again.'
    ) from error


def _read(path: pathlib.Path) -> dict[str, str]:
  """Returns name -> digest of the complete lines of a list."""
  lines = path.read_bytes().decode(errors='replace').splitlines()
  parts = [line.split('  ', 1) for line in lines]
  return {part[1]: part[0] for part in parts if len(part) == 2}


def _list_files(folder: pathlib.Path) -> list[str]:
  """Returns the names of the files that the list has, with their folders."""
  names = sorted(p.relative_to(folder).as_posix() for p in _walk(folder))
  return [name for name in names if name not in (NAME, *_WRITTEN_LATER)]


def _walk(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields all files; a bucket of Google Cloud Storage has no `rglob`."""
  for path in folder.iterdir():
    if path.is_dir():
      yield from _walk(path)
    else:
      yield path


def _hash(path: pathlib.Path) -> str:
  with path.open('rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()
