"""What lies in a folder of images: its classes and its files."""

import collections
import dataclasses
import hashlib
import os
import pathlib
import unicodedata
import warnings
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence

from vq_jax.data import class_names
from vq_jax.data.decode import image_suffixes
from vq_jax.data.errors import DataError
from vq_jax.data.errors import FolderWarning

# What operating systems leave in folders of pictures.
_LEFTOVERS = frozenset(
  {'__macosx', 'desktop.ini', 'ehthumbs.db', 'icon\r', 'thumbs.db'}
)
_FEW = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listing:
  """The images below a folder.

  Attributes:
    files: their relative POSIX names, in the order of the hashes of these.
    class_names: the folders that they lie in, in natural order; `('',)` if
      they lie in none.
  """

  files: tuple[str, ...]
  class_names: tuple[str, ...]


def list_images(root: pathlib.Path) -> Listing:
  """Lists the images below a folder; warns of what is left out.

  Raises:
    DataError: if there are none, if they lie in class folders and beside them,
      if two class folders have one name, or if a folder cannot be read.
  """
  files, skipped = [], collections.Counter()
  for file in _walk(root):
    if file.lower().endswith(image_suffixes()):
      files.append(file)
    else:
      skipped[pathlib.PurePosixPath(file).suffix.lower()] += 1
  left_out = _skipped_text(skipped)
  if not files:
    raise DataError(
      f'the folder {root} must hold images (JPEG, PNG, WebP or another format '
      'of Pillow), in class sub-folders or flat; it holds '
      f'{left_out or "none"}.'
    )
  folders = _class_folders(files)
  if left_out:
    warnings.warn(f'{root}: skipped {left_out}.', FolderWarning, stacklevel=4)
  if '' not in folders:
    empty = [f.name for f in sub_folders(root) if f.name not in folders]
    if empty:
      warnings.warn(
        f'{root}: there is no image in {listed(empty)}, so there is no such '
        'class.',
        FolderWarning,
        stacklevel=4,
      )
  return Listing(
    files=tuple(sorted(files, key=_hash_key)),
    class_names=tuple(
      sorted(map(class_names.composed, folders), key=class_names.natural_key)
    ),
  )


def _class_folders(files: Iterable[str]) -> set[str]:
  """Returns the class folders by their names on disk; {''} without any."""
  folders = {}
  for file in files:
    folders.setdefault(file.split('/')[0] if '/' in file else '', file)
  if '' in folders and len(folders) > 1:
    other = min(set(folders) - {''}, key=class_names.natural_key)
    raise DataError(
      'images must lie either all in class sub-folders or all flat; '
      f'{folders[""]} lies beside the sub-folder {other!r}. Move one of them.'
    )
  class_names.index_by_composed_name(folders)
  return set(folders)


def _walk(root: pathlib.Path) -> Iterator[str]:
  """Yields the relative POSIX names of all files that are not hidden."""

  def fail(error: OSError):
    raise DataError(
      f'all folders below {root} must be readable; {error.filename}: '
      f'{error.strerror}.'
    ) from error

  for folder, folders, names in os.walk(root, followlinks=True, onerror=fail):
    folders[:] = [
      name
      for name in sorted(folders)
      if not is_hidden(name) and not _leads_back(root, folder, name)
    ]
    for name in sorted(names):
      if not is_hidden(name):
        yield pathlib.Path(folder, name).relative_to(root).as_posix()


def is_hidden(name: str) -> bool:
  """Whether a file or folder is left out without a word."""
  return name.startswith('.') or name.casefold() in _LEFTOVERS


def _leads_back(root: pathlib.Path, folder: str, name: str) -> bool:
  """Whether a sub-folder is a link to one that the walk is already inside."""
  inside = pathlib.Path(folder)
  target = (inside / name).resolve()
  above = [inside, *inside.parents][: len(inside.relative_to(root).parts) + 1]
  return any(target == parent.resolve() for parent in above)


def sub_folders(path: pathlib.Path) -> list[pathlib.Path]:
  """Returns the folders in a folder that are not hidden."""
  found = [p for p in path.iterdir() if p.is_dir()]
  return sorted(f for f in found if not is_hidden(f.name))


def has_image(folder: pathlib.Path) -> bool:
  """Whether an image lies somewhere below a folder."""
  suffixes = image_suffixes()
  return any(file.lower().endswith(suffixes) for file in _walk(folder))


def _skipped_text(skipped: collections.Counter) -> str:
  """Returns '3 files that are no images: .txt, .json', or '' for none."""
  if not skipped:
    return ''
  total = sum(skipped.values())
  most_first = sorted(skipped, key=lambda suffix: (-skipped[suffix], suffix))
  kinds = [suffix or 'no suffix' for suffix in most_first]
  what = 'file that is no image' if total == 1 else 'files that are no images'
  return f'{total} {what}: {listed(kinds)}'


def listed(names: Sequence[str]) -> str:
  """Returns the first names, and how many more there are."""
  more = f' and {len(names) - _FEW} more' if len(names) > _FEW else ''
  return ', '.join(names[:_FEW]) + more


def _hash_key(file: str) -> tuple[bytes, str]:
  name = unicodedata.normalize('NFC', file)
  return hashlib.sha1(os.fsencode(name)).digest(), file
