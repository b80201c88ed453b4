"""Opening of sources by their names: `tfds:`, `folder:`, `npz:`, `tokens:`."""

import os
import pathlib
import zipfile

import numpy as np

from vq_jax.data import fashion_mnist_mini
from vq_jax.data.base import ArraySource
from vq_jax.data.base import Source
from vq_jax.data.errors import DataError
from vq_jax.data.folder import FolderSource
from vq_jax.data.memory import with_channels
from vq_jax.data.splits import parse_split
from vq_jax.data.splits import require_split
from vq_jax.data.tfds_source import EMBEDDED
from vq_jax.data.tfds_source import TfdsSource
from vq_jax.data.tokens import TokenSource
from vq_jax.utils import file_kinds
from vq_jax.utils import names
from vq_jax.utils import packages

_KINDS = (
  'tfds:<name>, folder:<path>, npz:<path>, tokens:<path>, '
  '<package.module>:<Class>'
)


def open_source(
  spec: str,
  split: str = 'train',
  *,
  data_dir: str | os.PathLike | None = None,
  channels: int | None = None,
  max_unreadable: int = 100,
) -> Source:
  """Opens a source of images or tokens.

  Args:
    spec: one of
      `tfds:<name>`: a data set of TensorFlow Datasets, of which
      `fashion_mnist_mini` is part of this package, and can be read without
      TensorFlow Datasets;
      `folder:<path>`: image files, see `FolderSource`;
      `npz:<path>`: arrays `images` uint8 [N, H, W, C] or [N, H, W] and,
      optionally, `labels` [N];
      `tokens:<path>`: tokens that `vqjax tokenize` has written, see
      `TokenSource`;
      `<package.module>:<Class>`: a class or function that is called with the
      split and returns a `Source`.
    split: name of a split, or a part of it: `train[:90%]`, `train[100:200]`.
      An npz file, or a folder without folders of splits, is the split `train`.
    data_dir: folder in which TFDS keeps its data sets; None for its default.
    channels: 1 or 3 converts the images; None takes them as they are.
    max_unreadable: number of images that may fail to decode before reading
      stops with an error.

  Returns:
    The source.

  Raises:
    DataError: if the source or the split does not exist.
  """
  kind, _, name = spec.partition(':')
  is_tfds_installed = packages.is_installed('tensorflow_datasets')
  if kind == 'tfds' and name == EMBEDDED and not is_tfds_installed:
    return _open_embedded(split, channels)
  if kind == 'tfds' and name:
    return TfdsSource(
      name,
      split,
      data_dir=data_dir,
      channels=channels,
      max_unreadable=max_unreadable,
    )
  if kind == 'folder' and name:
    return FolderSource(
      name, split, channels=channels, max_unreadable=max_unreadable
    )
  if kind == 'npz' and name:
    return _open_npz(name, split, channels)
  if kind == 'tokens' and name:
    return TokenSource(name, split)
  if name and all(part.isidentifier() for part in kind.split('.')):
    return _open_by_path(spec, split, channels)
  raise DataError(f'a source must be one of {_KINDS}; got {spec!r}.')


def _open_embedded(split: str, channels: int | None) -> ArraySource:
  """Opens the images in this package without TensorFlow Datasets."""
  parsed = parse_split(split)
  name = f'tfds:{EMBEDDED} {split}'
  require_split(parsed, tuple(fashion_mnist_mini.PER_CLASS), f'tfds:{EMBEDDED}')
  images, labels = fashion_mnist_mini.load(parsed.name)
  rows = parsed.rows(len(images))
  source = ArraySource(
    images[rows.start : rows.stop],
    labels[rows.start : rows.stop],
    class_names=fashion_mnist_mini.CLASS_NAMES,
    name=name,
  )
  return with_channels(source, channels)


def _open_by_path(spec: str, split: str, channels: int | None) -> Source:
  try:
    factory = names.import_by_path(spec)
  except ImportError as error:
    raise DataError(
      f'a source must be one of {_KINDS}; got {spec!r} ({error}).'
    ) from error
  source = factory(split)
  if not isinstance(source, Source):
    raise DataError(
      f'{spec} must return a vq_jax.data.Source; got a {type(source).__name__}.'
    )
  shape = source.image_shape
  if channels is not None and shape is not None and shape[-1] != channels:
    raise DataError(
      f'{source.name} has images {shape}, not of {channels} channels; convert '
      "them by the preprocessing operation 'channels'."
    )
  return source


def _open_npz(path: str, split: str, channels: int | None) -> ArraySource:
  arrays = _load_npz(pathlib.Path(path).expanduser())
  if 'images' not in arrays:
    raise DataError(
      f'{path} must hold an array `images`; it has '
      f'{", ".join(arrays) or "no array"}.'
    )
  source = ArraySource(
    arrays['images'], arrays.get('labels'), name=f'npz:{path}'
  )
  return with_channels(source.subset(split), channels)


def _load_npz(path: pathlib.Path) -> dict[str, np.ndarray]:
  try:
    # NumPy leaves a file open that it cannot read.
    with path.open('rb') as file, np.load(file) as arrays:
      return dict(arrays)
  except Exception as error:  # zip, pickle, header and type errors alike
    raise DataError(
      f'npz: must be followed by a file of plain arrays that np.savez wrote; '
      f'{path}: {_reason(path, error)}'
    ) from error


def _reason(path: pathlib.Path, error: Exception) -> str:
  """Returns why a file cannot be read as npz."""
  if not path.is_file():
    return str(error)
  other = file_kinds.describe_non_weights(file_kinds.read_head(path))
  if other is not None:
    return f'it is {other}'
  if isinstance(error, zipfile.BadZipFile | EOFError):
    return f'it is cut off or damaged ({error})'
  if 'pickle' in str(error) or 'Object arrays' in str(error):
    return 'it holds pickled objects, which could run anything'
  return str(error)
