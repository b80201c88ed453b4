"""The decision whether sub-folders are splits or classes."""

import dataclasses
import pathlib
import warnings

from vq_jax.data import class_names
from vq_jax.data import listing
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
  """The folders of a split.

  Attributes:
    root: folder of the split.
    training: folder of the training split, which defines the classes; None if
      there is no training split.
  """

  root: pathlib.Path
  training: pathlib.Path | None


def find_split(path: pathlib.Path, split: Split) -> Layout:
  """Finds the folder of a split.

  Sub-folders are splits if all that contain images have names of splits, or if
  some of them do and all contain a common class. Otherwise they are classes.

  Raises:
    DataError: if the folder or the split does not exist.
  """
  if not path.is_dir():
    what = 'a file' if path.exists() else 'nothing'
    raise DataError(
      f'folder: must be followed by an existing folder; there is {what} '
      f'at {path}.'
    )
  on_disk = class_names.index_by_composed_name(
    f.name for f in listing.sub_folders(path)
  )
  folders = {}
  if any(name.casefold() in _SPLIT_NAMES for name in on_disk):
    folders = {
      name: path / found
      for name, found in on_disk.items()
      if listing.has_image(path / found)
    }
  if not _are_splits(path, folders):
    require_split(split, ('train',), f'the folder {path}')
    return Layout(root=path, training=path)
  names = tuple(sorted(folders, key=class_names.natural_key))
  require_split(split, names, f'the folder {path}')
  _warn_of_skipped(path)
  training = [n for n in names if n.casefold() in _TRAINING_NAMES]
  return Layout(
    root=folders[split.name],
    training=folders[training[0]] if training else None,
  )


def _are_splits(path: pathlib.Path, folders: dict[str, pathlib.Path]) -> bool:
  """Returns whether folders are splits; warns if that is ambiguous."""
  named = [name for name in folders if name.casefold() in _SPLIT_NAMES]
  if len(named) == len(folders) or not named:
    return bool(named)
  inside = [
    {
      class_names.composed(f.name)
      for f in listing.sub_folders(folder)
      if listing.has_image(f)
    }
    for folder in folders.values()
  ]
  common = set.intersection(*inside)
  others = [name for name in folders if name not in named]
  if common:
    shared = min(common, key=class_names.natural_key)
    decision = (
      f'are read as splits, as each of them holds a folder {shared!r}. If they '
      'are classes, put all of them into one folder named train'
    )
  else:
    decision = (
      'are read as classes of one split, train (to say so, put all of them '
      'into one folder named train). If some are splits, move the others away'
    )
  warnings.warn(
    f'{path}: {listing.listed(named)} may be splits, but '
    f'{listing.listed(others)} may not; all {len(folders)} folders {decision}.',
    FolderWarning,
    stacklevel=5,
  )
  return bool(common)


def _warn_of_skipped(path: pathlib.Path) -> None:
  """Warns of images that are skipped beside the folders of splits."""
  names = sorted(
    p.name
    for p in path.iterdir()
    if p.name.lower().endswith(image_suffixes())
    and not listing.is_hidden(p.name)
    and p.is_file()
  )
  if names:
    warnings.warn(
      f'{path}: skipped {listing.listed(names)}, beside the folders of the '
      'splits.',
      FolderWarning,
      stacklevel=5,
    )
