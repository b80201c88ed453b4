"""A folder of images, in class sub-folders or flat."""

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
  """Reads one file per example.

  All formats of still images that Pillow reads are read, of a moving picture
  the first frame. Other files are counted and named in one warning. Hidden
  files and folders are not looked at; links are followed, but not in circles.

  The order is that of a hash of the relative file names: it mixes the classes,
  stays when the folder moves, and makes `train[:90%]` and `train[90%:]` a fair
  hold-out.

  The folders in the folder are classes, or they are splits (`train`, `val`)
  which hold the class folders, or the images if there are no classes. They are
  splits if all of those that hold images have names of splits (train, training,
  test, testing, val, valid, validation, dev, eval, evaluation, in lower or
  upper case). Classes `bus`, `car` and `train` are classes. Where some have
  such names and others have not, they are splits only if one class folder is
  found in all of them, and a warning tells what was decided. To have classes
  with the names of splits, put all class folders into one folder named `train`.

  Classes are numbered in natural order, by value where a name is a number: 2
  before 10. Their names are composed Unicode (NFC), however the disk has them.
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
      path: the folder. If its folders are splits, the classes are those of
        `<path>/train` where that exists; otherwise all of the folder is the
        split `train`.
      split: a name, or a part such as `train[90%:]`.
      channels: 1 or 3. `None`: 1 if the first 64 images that can be read are
        all grey, else 3.
      max_unreadable: how many images may fail to decode.

    Raises:
      DataError: if there is no such folder, split or image, if images lie both
        in class folders and beside them, or if two classes have one name.
    """
    check_channels(channels)
    path = pathlib.Path(path).expanduser()
    parsed = parse_split(split)
    layout = split_folders.find_split(path, parsed)
    found = listing.list_images(layout.root)
    # What is true of all splits is read off the training split.
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
    """Number of files."""
    return len(self._files)

  def __getitem__(self, index: int) -> Example:
    """Decodes one file."""
    file = self._files[index]
    path = self._root / file
    image = decode_image(path, channels=self._channels, name=str(path))
    label = self._class_ids[class_names.get_class_name(file)]
    return {'image': image, 'label': np.int32(label)}


def _guess_channels(root: pathlib.Path, files: Sequence[str]) -> int:
  seen = 0
  for file in files:
    try:
      if not is_grey(root / file):
        return 3
    except UnreadableImage:
      continue  # reported when it is read
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
