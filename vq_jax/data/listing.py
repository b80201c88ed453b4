"""What lies in a folder of images: its splits, its classes and its files."""

import collections
import dataclasses
import functools
import hashlib
import os
import pathlib
import re
import unicodedata
import warnings
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

from vq_jax.data.decode import image_suffixes
from vq_jax.data.errors import DataError
from vq_jax.data.errors import FolderWarning
from vq_jax.data.splits import Split
from vq_jax.data.splits import require_split

_TRAINING_NAMES = frozenset({'train', 'training'})
_SPLIT_NAMES = _TRAINING_NAMES | {
  *('dev', 'eval', 'evaluation', 'test', 'testing'),
  *('val', 'valid', 'validation'),
}
# What operating systems leave in folders of pictures.
_LEFTOVERS = frozenset(
  {'__macosx', 'desktop.ini', 'ehthumbs.db', 'icon\r', 'thumbs.db'}
)
_FEW = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
  """Where the images of a split lie.

  Attributes:
    root: the folder of the split.
    training: the folder of the training split, which tells the classes;
      `None` if there is none.
  """

  root: pathlib.Path
  training: pathlib.Path | None


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


def natural_key(name: str) -> tuple[Any, ...]:
  """Returns a key that sorts the numbers in names by their values.

  Names compare piece by piece, digits as numbers: 2, 2b, 10, img2, img10. One
  that is a number altogether may have a sign. The order depends on no locale.
  """
  if re.fullmatch('[-+]?[0-9]+', name):
    return ((0, int(name), ''),), name
  pieces = re.split('([0-9]+)', name)
  return tuple(
    (0, int(piece), '') if i % 2 else (1, 0, piece)
    for i, piece in enumerate(pieces)
    if piece
  ), name


def class_of(file: str) -> str:
  """Returns the class of a relative name: its first folder, '' without one.

  Names are composed (Unicode's form NFC), because that is how they are typed;
  some systems write them decomposed.
  """
  return _composed(file.split('/')[0]) if '/' in file else ''


def find_split(path: pathlib.Path, split: Split) -> Layout:
  """Decides whether the folders in a folder are splits or classes.

  They are splits if all of those that hold images have the names of splits,
  or if all of them hold the same classes in part; otherwise they are classes.

  Raises:
    DataError: if there is no such folder or split.
  """
  if not path.is_dir():
    what = 'a file' if path.exists() else 'nothing'
    raise DataError(
      f'folder: must be followed by an existing folder; there is {what} '
      f'at {path}.'
    )
  folders = {_composed(f.name): f for f in _sub_folders(path)}
  if not any(name.casefold() in _SPLIT_NAMES for name in folders):
    folders = {}  # without a look into each of them
  folders = {name: f for name, f in folders.items() if _has_image(f)}
  if not _are_splits(path, folders):
    require_split(split, ('train',), f'the folder {path}')
    return Layout(root=path, training=path)
  names = tuple(sorted(folders, key=natural_key))
  require_split(split, names, f'the folder {path}')
  _tell_beside(path)
  training = [n for n in names if n.casefold() in _TRAINING_NAMES]
  return Layout(
    root=folders[split.name],
    training=folders[training[0]] if training else None,
  )


def _are_splits(path: pathlib.Path, folders: dict[str, pathlib.Path]) -> bool:
  """Decides, and warns where names and contents do not tell for certain."""
  named = [name for name in folders if name.casefold() in _SPLIT_NAMES]
  if len(named) == len(folders) or not named:
    return bool(named)
  inside = [
    {_composed(f.name) for f in _sub_folders(folder) if _has_image(f)}
    for folder in folders.values()
  ]
  common = set.intersection(*inside)
  others = [name for name in folders if name not in named]
  if common:
    decision = (
      f'are read as splits, as all of them hold folders such as '
      f'{min(common, key=natural_key)!r}. If they are classes, put all of them '
      'into one folder named train'
    )
  else:
    decision = (
      'are read as classes of one split, train (to say so, put all of them '
      'into one folder named train). If some are splits, move the others away'
    )
  warnings.warn(
    f'{path}: {_listed(named)} may be splits, but {_listed(others)} may not; '
    f'all {len(folders)} folders {decision}.',
    FolderWarning,
    stacklevel=5,
  )
  return bool(common)


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
      + (f'{left_out}, and no image.' if left_out else 'none.')
    )
  folders = _class_folders(files)
  if left_out:
    warnings.warn(
      f'{root}: skipped {left_out}, which are no images.',
      FolderWarning,
      stacklevel=4,
    )
  if '' not in folders:
    empty = [f.name for f in _sub_folders(root) if f.name not in folders]
    if empty:
      warnings.warn(
        f'{root}: {_listed(empty)} hold no image, so there is no such class.',
        FolderWarning,
        stacklevel=4,
      )
  return Listing(
    files=tuple(sorted(files, key=_hash_key)),
    class_names=tuple(sorted(map(_composed, folders), key=natural_key)),
  )


def _class_folders(files: Iterable[str]) -> set[str]:
  """Returns the class folders by their names on disk; {''} without any."""
  folders = {}
  for file in files:
    folders.setdefault(file.split('/')[0] if '/' in file else '', file)
  if '' in folders and len(folders) > 1:
    other = min(set(folders) - {''}, key=natural_key)
    raise DataError(
      'images must lie either all in class sub-folders or all flat; '
      f'{folders[""]} lies beside the sub-folder {other!r}. Move one of them.'
    )
  composed = {}
  for name in folders:
    try:
      name.encode()
    except UnicodeEncodeError as error:
      raise DataError(
        f'the name of a class folder must be UTF-8; got {os.fsencode(name)!r}. '
        'Rename it.'
      ) from error
    other = composed.setdefault(_composed(name), name)
    if other != name:
      raise DataError(
        f'two class folders have one name, {_composed(name)!r}, written with '
        f'composed and with decomposed letters: {ascii(other)} and '
        f'{ascii(name)}. Join them.'
      )
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
      if not _is_hidden(name) and not _leads_back(root, folder, name)
    ]
    for name in sorted(names):
      if not _is_hidden(name):
        yield pathlib.Path(folder, name).relative_to(root).as_posix()


def _is_hidden(name: str) -> bool:
  return name.startswith('.') or name.casefold() in _LEFTOVERS


def _leads_back(root: pathlib.Path, folder: str, name: str) -> bool:
  """Whether a sub-folder is a link to one that the walk is already inside."""
  inside = pathlib.Path(folder)
  target = (inside / name).resolve()
  above = [inside, *inside.parents][: len(inside.relative_to(root).parts) + 1]
  return any(target == parent.resolve() for parent in above)


def _sub_folders(path: pathlib.Path) -> list[pathlib.Path]:
  found = [p for p in path.iterdir() if p.is_dir()]
  return sorted(f for f in found if not _is_hidden(f.name))


def _has_image(folder: pathlib.Path) -> bool:
  suffixes = image_suffixes()
  return any(file.lower().endswith(suffixes) for file in _walk(folder))


def _tell_beside(path: pathlib.Path) -> None:
  """Warns of images that lie beside the folders of the splits."""
  names = sorted(
    p.name
    for p in path.iterdir()
    if p.name.lower().endswith(image_suffixes())
    and not _is_hidden(p.name)
    and p.is_file()
  )
  if names:
    warnings.warn(
      f'{path}: {_listed(names)} lie beside the folders of the splits and are '
      'skipped.',
      FolderWarning,
      stacklevel=5,
    )


def _skipped_text(skipped: collections.Counter) -> str:
  """Returns '3 files (.txt, .json)', or '' for none."""
  if not skipped:
    return ''
  total = sum(skipped.values())
  most_first = sorted(skipped, key=lambda suffix: (-skipped[suffix], suffix))
  kinds = [suffix or 'no suffix' for suffix in most_first]
  return f'{total} file{"s" if total > 1 else ""} ({_listed(kinds)})'


def _listed(names: Sequence[str]) -> str:
  more = f' and {len(names) - _FEW} more' if len(names) > _FEW else ''
  return ', '.join(names[:_FEW]) + more


@functools.lru_cache(maxsize=4096)
def _composed(name: str) -> str:
  return unicodedata.normalize('NFC', name)


def _hash_key(file: str) -> tuple[bytes, str]:
  name = unicodedata.normalize('NFC', file)
  return hashlib.sha1(os.fsencode(name)).digest(), file
