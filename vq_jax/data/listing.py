"""Listing of the image files and the classes in a folder."""

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
from typing import Any

from vq_jax.data import class_names
from vq_jax.data.decode import image_suffixes
from vq_jax.data.errors import DataError
from vq_jax.data.errors import FolderWarning

# Files that operating systems leave in folders of images.
_LEFTOVERS = frozenset(
  {'__macosx', 'desktop.ini', 'ehthumbs.db', 'icon\r', 'thumbs.db'}
)
_FEW = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listing:
  """The images in a folder and its sub-folders.

  Attributes:
    files: relative POSIX paths, ordered by their hashes.
    class_names: names of the class folders in natural order; `('',)` if there
      are no class folders.
  """

  files: tuple[str, ...]
  class_names: tuple[str, ...]


def list_images(root: pathlib.Path) -> Listing:
  """Lists the images in a folder; warns of files that are skipped.

  Raises:
    DataError: if there are no images, if there are images both in class folders
      and beside them, if two class folders have the same name, or if a folder
      cannot be read.
  """
  files, skipped = [], collections.Counter[str]()
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
  """Returns the names of the class folders on disk; {''} if there are none."""
  folders: dict[str, Any] = {}
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
  """Yields the relative POSIX paths of all files that are not hidden."""

  def fail(error: OSError):
    raise DataError(
      f'all folders below {root} must be readable; {error.filename}: '
      f'{error.strerror}.'
    ) from error

  for folder, folders, names in os.walk(root, followlinks=True, onerror=fail):
    folders[:] = [
      name
      for name in sorted(folders)
      if not is_hidden(name) and not _is_cycle(root, folder, name)
    ]
    for name in sorted(names):
      if not is_hidden(name):
        yield pathlib.Path(folder, name).relative_to(root).as_posix()


def is_hidden(name: str) -> bool:
  """Returns whether a file or folder is ignored without a warning."""
  return name.startswith('.') or name.casefold() in _LEFTOVERS


def _is_cycle(root: pathlib.Path, folder: str, name: str) -> bool:
  """Returns whether a sub-folder is a link to one of its own parents."""
  inside = pathlib.Path(folder)
  target = (inside / name).resolve()
  above = [inside, *inside.parents][: len(inside.relative_to(root).parts) + 1]
  return any(target == parent.resolve() for parent in above)


def sub_folders(path: pathlib.Path) -> list[pathlib.Path]:
  """Returns the sub-folders that are not hidden."""
  found = [p for p in path.iterdir() if p.is_dir()]
  return sorted(f for f in found if not is_hidden(f.name))


def has_image(folder: pathlib.Path) -> bool:
  """Returns whether a folder or one of its sub-folders contains an image."""
  suffixes = image_suffixes()
  return any(file.lower().endswith(suffixes) for file in _walk(folder))


def _skipped_text(skipped: collections.Counter) -> str:
  """Returns a text such as '3 files that are no images: .txt, .json'."""
  if not skipped:
    return ''
  total = sum(skipped.values())
  most_first = sorted(skipped, key=lambda suffix: (-skipped[suffix], suffix))
  kinds = [suffix or 'no suffix' for suffix in most_first]
  what = 'file that is no image' if total == 1 else 'files that are no images'
  return f'{total} {what}: {listed(kinds)}'


def listed(names: Sequence[str]) -> str:
  """Returns the first names, and the number of the others."""
  more = f' and {len(names) - _FEW} more' if len(names) > _FEW else ''
  return ', '.join(names[:_FEW]) + more


def _hash_key(file: str) -> tuple[bytes, str]:
  name = unicodedata.normalize('NFC', file)
  return hashlib.sha1(os.fsencode(name)).digest(), file
