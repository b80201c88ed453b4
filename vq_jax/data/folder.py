"""A source of image files in a folder."""

import hashlib
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from vq_jax.data import class_names
from vq_jax.data import listing
from vq_jax.data import split_folders
from vq_jax.data.base import Example
from vq_jax.data.base import Source
from vq_jax.data.decode import check_channels
from vq_jax.data.decode import decode_image
from vq_jax.data.decode import is_grey
from vq_jax.data.errors import DataError
from vq_jax.data.errors import UnreadableImage
from vq_jax.data.splits import parse_split

_PEEK = 64


class FolderSource(Source):
  """A source of image files in a folder, with or without class sub-folders.

  All formats of still images that Pillow reads are supported; of an animation
  the first frame is read. Other files are skipped with one warning. Hidden
  files and folders are ignored. Links are followed, except in cycles.

  Examples are ordered by a hash of their relative file names. This order mixes
  the classes and does not change when the folder is moved, so that
  `train[:90%]` and `train[90%:]` are a fair hold-out.

  The sub-folders are classes, or they are splits (`train`, `val`) that contain
  the class folders, or the images if there are no classes. They are splits if
  all sub-folders with images have the name of a split (train, training, test,
  testing, val, valid, validation, dev, eval, evaluation, in lower or upper
  case). If only some of them do, they are splits only if one class folder
  exists in all of them, and a warning states the decision: `bus`, `car` and
  `train` are three classes. To use classes with names of splits, put all class
  folders into one folder named `train`.

  Classes are numbered in natural order: 2 before 10. Class names are in the
  Unicode form NFC.
  """

  def __init__(
    self,
    path: str | os.PathLike,
    split: str = 'train',
    *,
    channels: int | None = None,
    max_unreadable: int = 100,
  ):
    """Lists the files without decoding them.

    Args:
      path: the folder. If its sub-folders are splits, the classes are those of
        `<path>/train` if it exists. Otherwise the whole folder is the split
        `train`.
      split: name of a split, or a part of it such as `train[90%:]`.
      channels: 1 or 3 converts the images; None is 1 if the first 64 readable
        images are grey, else 3.
      max_unreadable: number of images that may fail to decode.

    Raises:
      DataError: if the folder or the split does not exist or has no images, if
        there are images both in class folders and beside them, or if two
        classes have the same name.
    """
    check_channels(channels)
    path = pathlib.Path(path).expanduser()
    parsed = parse_split(split)
    layout = split_folders.find_split(path, parsed)
    found = listing.list_images(layout.root)
    # The training split defines the classes and the channels of all splits.
    model = layout.training or layout.root
    known = found if model == layout.root else listing.list_images(model)
    names = known.class_names
    _require_known(found.class_names, names, layout.root)
    rows = parsed.rows(len(found.files))
    self._root = layout.root
    self._files = found.files[rows.start : rows.stop]
    self._class_ids = {name: i for i, name in enumerate(names)}
    super().__init__(
      name=f'folder:{path} {split}',
      class_names=[name or 'all' for name in names],
      max_unreadable=max_unreadable,
    )
    self._channels = channels or _guess_channels(model, known.files)

  def __len__(self) -> int:
    """Returns the number of files."""
    return len(self._files)

  def __getitem__(self, index: int) -> Example:
    """Decodes one file."""
    file = self._files[index]
    path = self._root / file
    image = decode_image(path, channels=self._channels, name=str(path))
    label = self._class_ids[class_names.get_class_name(file)]
    return {'image': image, 'label': np.asarray(label, np.int32)}

  def fingerprint(self) -> str:
    """Returns the SHA-256 of the names, sizes and times of the files."""
    digest = hashlib.sha256()
    for file in self._files:
      found = (self._root / file).stat()
      digest.update(f'{file} {found.st_size} {found.st_mtime_ns}\n'.encode())
    return digest.hexdigest()


def _guess_channels(root: pathlib.Path, files: Sequence[str]) -> int:
  seen = 0
  for file in files:
    try:
      if not is_grey(root / file):
        return 3
    except UnreadableImage:
      continue  # the error is reported when the image is read
    seen += 1
    if seen == _PEEK:
      break
  return 1


def _require_known(
  names: Sequence[str], known: Sequence[str], root: pathlib.Path
) -> None:
  unknown = [name or '(images in no folder)' for name in set(names) - {*known}]
  if unknown:
    raise DataError(
      f'the classes of {root} must be among those of the training split '
      f'({", ".join(name or "none, all flat" for name in known)}); it also has '
      f'{", ".join(sorted(unknown, key=class_names.natural_key))}.'
    )
