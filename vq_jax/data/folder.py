"""A folder of JPEG, PNG and WebP files, in class sub-folders or flat."""

import hashlib
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from vq_jax.data.base import Example
from vq_jax.data.base import Source
from vq_jax.data.decode import check_channels
from vq_jax.data.decode import decode_image
from vq_jax.data.decode import is_grey
from vq_jax.data.errors import DataError
from vq_jax.data.errors import UnreadableImage
from vq_jax.data.splits import Split
from vq_jax.data.splits import parse_split
from vq_jax.data.splits import require_split

SUFFIXES = ('.jpeg', '.jpg', '.png', '.webp')
_PEEK = 64


class FolderSource(Source):
  """Reads one file per example.

  The order is that of a hash of the relative file names: it mixes the classes,
  stays when the folder moves, and makes `train[:90%]` and `train[90%:]` a fair
  hold-out.
  """

  def __init__(
    self,
    path: str | os.PathLike,
    split: str = 'train',
    *,
    channels: int | None = None,
    max_unreadable: int = 100,
  ):
    """Lists the files; decodes none.

    Args:
      path: the folder. If `<path>/<split>` is a folder it is the split, and
        the classes are those of `<path>/train` where that exists; otherwise
        all of the folder is the split `train`.
      split: a name, or a part such as `train[90%:]`.
      channels: 1 or 3. `None`: 1 if the first 64 images are all grey, else 3.
      max_unreadable: how many images may fail to decode.

    Raises:
      DataError: if there is no such folder, split or image.
    """
    check_channels(channels)
    path = pathlib.Path(path).expanduser()
    parsed = parse_split(split)
    root = _split_folder(path, parsed)
    files = _list_files(root)
    names = _class_names(files)
    # What is true of all splits is read off the training split.
    model, model_files = root, files
    if root != path and root.name != 'train' and (path / 'train').is_dir():
      model, model_files = path / 'train', _list_files(path / 'train')
      names = _known_classes(names, _class_names(model_files), root)
    rows = parsed.rows(len(files))
    self._root = root
    self._files = files[rows.start : rows.stop]
    self._class_ids = {name: i for i, name in enumerate(names)}
    super().__init__(
      name=f'folder:{path} {split}',
      class_names=[name or 'all' for name in names],
      max_unreadable=max_unreadable,
    )
    self._channels = channels or _guess_channels(model, model_files)

  def __len__(self) -> int:
    """Number of files."""
    return len(self._files)

  def __getitem__(self, index: int) -> Example:
    """Decodes one file."""
    file = self._files[index]
    path = self._root / file
    image = decode_image(path, channels=self._channels, name=str(path))
    label = self._class_ids[_class_of(file)]
    return {'image': image, 'label': np.int32(label)}


def _guess_channels(root: pathlib.Path, files: Sequence[str]) -> int:
  for file in files[:_PEEK]:
    try:
      if not is_grey(root / file):
        return 3
    except UnreadableImage:
      continue  # reported when it is read
  return 1


def _split_folder(path: pathlib.Path, split: Split) -> pathlib.Path:
  if not path.is_dir():
    what = 'a file' if path.exists() else 'nothing'
    raise DataError(
      f'folder: must be followed by an existing folder; there is {what} '
      f'at {path}.'
    )
  if (path / split.name).is_dir():
    return path / split.name
  valid = ('train',)
  if (path / 'train').is_dir():
    valid = tuple(sorted(p.name for p in _visible(path) if p.is_dir()))
  require_split(split, valid, f'the folder {path}')
  return path


def _visible(path: pathlib.Path) -> list[pathlib.Path]:
  return [p for p in path.iterdir() if not p.name.startswith('.')]


def _list_files(root: pathlib.Path) -> list[str]:
  """Relative POSIX names of all images, in the order of their hashes."""
  files = []
  for folder, folders, names in os.walk(root, followlinks=True):
    folders[:] = [
      name
      for name in folders
      if not name.startswith('.') and not _leads_back(root, folder, name)
    ]
    files += [
      pathlib.Path(folder, name).relative_to(root).as_posix()
      for name in names
      if name.lower().endswith(SUFFIXES) and not name.startswith('.')
    ]
  if not files:
    raise DataError(
      f'the folder {root} must hold images ({", ".join(SUFFIXES)}), in class '
      'sub-folders or flat; it holds none.'
    )
  return sorted(files, key=lambda f: (hashlib.sha1(f.encode()).digest(), f))


def _leads_back(root: pathlib.Path, folder: str, name: str) -> bool:
  """Whether a sub-folder is a link to one that the walk is already inside."""
  inside = pathlib.Path(folder)
  target = (inside / name).resolve()
  above = [inside, *inside.parents][: len(inside.relative_to(root).parts) + 1]
  return any(target == parent.resolve() for parent in above)


def _class_of(file: str) -> str:
  """The first folder of a relative name; '' for a flat file."""
  return file.split('/')[0] if '/' in file else ''


def _class_names(files: Sequence[str]) -> tuple[str, ...]:
  names = tuple(sorted({_class_of(file) for file in files}))
  if '' in names and len(names) > 1:
    stray = next(file for file in files if '/' not in file)
    raise DataError(
      'images must lie either all in class sub-folders or all flat; '
      f'{stray} lies beside the sub-folder {names[1]!r}. Move one of them.'
    )
  return names


def _known_classes(
  names: tuple[str, ...], known: tuple[str, ...], root: pathlib.Path
) -> tuple[str, ...]:
  unknown = sorted(set(names) - set(known))
  if unknown:
    raise DataError(
      f'the classes of {root} must be among those of the split train '
      f'({", ".join(known)}); it also has {", ".join(unknown)}.'
    )
  return known
