"""The files of ADM's evaluation suite: statistics, and batches of samples.

https://github.com/openai/guided-diffusion/tree/main/evaluations. A file of
statistics has `mu` and `sigma`, of the pooled features, and `mu_s` and
`sigma_s`, of the spatial ones. A batch of samples has `arr_0`, uint8
[N, H, W, C], and optionally the labels `arr_1`.
"""

import hashlib
import json
import math
import os
import pathlib
import zipfile
import zlib
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from typing import IO
from typing import Any

import numpy as np

from vq_jax.data import DataError
from vq_jax.evaluation import feature_sets
from vq_jax.evaluation import image_sets
from vq_jax.metrics import frechet
from vq_jax.metrics import rows as rows_lib
from vq_jax.utils import paths

# Array of a pass -> suffix of its moments in a file of statistics.
_SUFFIXES = {'pooled': '', 'spatial': '_s'}
_EXTRACTOR, _COUNT, _SHAPE = 'extractor', 'count', 'image_shape'
_MOMENTS = ('mu', 'sigma', 'mu_s', 'sigma_s', _EXTRACTOR, _COUNT, _SHAPE)
_SAMPLES = ('arr_0', 'images')
_LABELS = ('arr_1', 'labels')
_PART = 256  # images that are written at once


def list_arrays(path: str | os.PathLike) -> tuple[str, ...]:
  """Returns the names of the arrays of an .npz file.

  Raises:
    DataError: if it is no such file.
  """
  try:
    with zipfile.ZipFile(path) as archive:
      names = archive.namelist()
  except (zipfile.BadZipFile, OSError) as error:
    raise DataError(
      f'{path} cannot be read as an .npz file: {error}'
    ) from error
  return tuple(name.removesuffix('.npy') for name in names)


def is_statistics(path: str | os.PathLike) -> bool:
  """Returns whether an .npz file has statistics."""
  return {'mu', 'sigma'} <= set(list_arrays(path))


def is_samples(path: str | os.PathLike) -> bool:
  """Returns whether an .npz file has images."""
  return not set(_SAMPLES).isdisjoint(list_arrays(path))


def read_statistics(path: str | os.PathLike) -> feature_sets.Statistics:
  """Reads a file of statistics.

  Raises:
    DataError: if the file is damaged.
  """
  try:
    with np.load(path) as file:
      found = {k: file[k] for k in file.files if k in _MOMENTS}
  except (ValueError, OSError, zipfile.BadZipFile) as error:
    raise DataError(f'{path} cannot be read as statistics: {error}') from error
  extractor = None
  if _EXTRACTOR in found:
    extractor = json.loads(str(found[_EXTRACTOR]))
  count = int(found[_COUNT]) if _COUNT in found else None
  shape = tuple(map(int, found[_SHAPE])) if _SHAPE in found else None
  try:
    gaussians = {
      array: frechet.from_moments(
        found[f'mu{suffix}'], found[f'sigma{suffix}'], count
      )
      for array, suffix in _SUFFIXES.items()
      if f'mu{suffix}' in found and f'sigma{suffix}' in found
    }
  except ValueError as error:
    raise DataError(f'{path} has no valid statistics: {error}') from error
  with open(path, 'rb') as file:
    checksum = hashlib.file_digest(file, 'sha256').hexdigest()
  return feature_sets.Statistics(
    gaussians,
    name=str(path),
    checksum=checksum,
    count=count,
    extractor=extractor,
    image_shape=shape,
  )


def write_statistics(
  path: str | os.PathLike,
  features: feature_sets.FeatureSet,
  arrays: Iterable[str],
  extractor: Mapping[str, str | None],
  image_shape: tuple[int, ...],
) -> None:
  """Writes a file of statistics, which ADM's suite can read too.

  Args:
    path: the file.
    features: the features.
    arrays: the arrays whose statistics are written, `pooled` and `spatial`.
    extractor: `passes.describe_extractor` of their extractor.
    image_shape: (H, W, C) of the images.
  """
  found: dict[str, Any] = {
    _EXTRACTOR: json.dumps(dict(extractor)),
    _COUNT: features.count,
    _SHAPE: np.array(image_shape),
  }
  for array in arrays:
    gaussian = features.gaussian(array)
    found[f'mu{_SUFFIXES[array]}'] = gaussian.mean
    found[f'sigma{_SUFFIXES[array]}'] = gaussian.covariance
  with paths.replacing(path) as temporary, temporary.open('wb') as file:
    np.savez(file, **found)


def write_samples(
  path: str | os.PathLike,
  images: rows_lib.Rows,
  labels: rows_lib.Rows | None = None,
) -> None:
  """Writes a batch of samples, which ADM's suite can read too, part by part.

  Args:
    path: the file.
    images: uint8 [N, H, W, C].
    labels: int [N], if there are any.
  """
  with (
    paths.replacing(path) as temporary,
    zipfile.ZipFile(temporary, 'w') as archive,
  ):
    for name, rows in zip(('arr_0', 'arr_1'), (images, labels), strict=True):
      if rows is None:
        continue
      with archive.open(f'{name}.npy', 'w', force_zip64=True) as file:
        header = np.lib.format.header_data_from_array_1_0(rows[:1])
        header['shape'] = tuple(rows.shape)
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(rows), _PART):
          part = np.ascontiguousarray(rows[start : start + _PART])
          file.write(part.tobytes())


class SampleBatch(image_sets.ImageSet):
  """The images of a batch of samples, read from its file part by part.

  Attributes:
    statistics: statistics in the same file, as ADM's reference batches have:
      those of a whole data set, of which the images are a part. None without.
  """

  def __init__(self, path: str | os.PathLike):
    """Reads the shape of the images.

    Raises:
      DataError: if the file has no images uint8 [N, H, W, C].
    """
    names = list_arrays(path)
    found = [name for name in _SAMPLES if name in names]
    if not found:
      raise DataError(
        f'{path} must have images `arr_0`, or statistics `mu` and `sigma`; it '
        f'has {", ".join(names) or "no array"}.'
      )
    self.name = str(path)
    self._path = pathlib.Path(path)
    self.statistics = read_statistics(path) if is_statistics(path) else None
    self._images = ZippedArray(path, found[0])
    shape, dtype = self._images.shape, self._images.dtype
    if dtype != np.uint8 or len(shape) != 4 or 0 in shape:
      raise DataError(
        f'{path}: {found[0]} must be uint8 [N, H, W, C] with values 0-255; got '
        f'{dtype} {list(shape)}.'
      )
    if shape[-1] not in (1, 3):
      raise DataError(
        f'{path}: images must have 1 or 3 channels, last; got {list(shape)}.'
      )
    self.image_shape = shape[1:]
    labels = [name for name in _LABELS if name in names]
    self._labels = ZippedArray(path, labels[0])[:] if labels else None
    if self._labels is not None:
      self.class_names = tuple(map(str, range(int(self._labels.max()) + 1)))

  def __len__(self) -> int:
    """Returns the number of images."""
    return len(self._images)

  def describe(self) -> dict[str, Any]:
    """Returns what identifies the file."""
    found = self._path.stat()
    stamp = f'{found.st_size} {found.st_mtime_ns}'
    return {'samples': str(self._path.resolve()), 'fingerprint': stamp}

  def batches(self, rows: range, batch_size: int) -> Iterator[image_sets.Batch]:
    """Reads `image` and, if the file has them, `label`; see `ImageSet`."""
    for start in range(rows.start, rows.stop, batch_size):
      part = slice(start, min(start + batch_size, rows.stop))
      batch = {'image': self._images[part]}
      if self._labels is not None:
        batch['label'] = self._labels[part].astype(np.int32)
      yield batch


class ZippedArray:
  """An array of an .npz file, of which parts can be read.

  Attributes:
    shape: its shape [n, ...].
    dtype: the type of its elements.
  """

  def __init__(self, path: str | os.PathLike, name: str):
    """Reads the header of an array.

    Raises:
      DataError: if the array cannot be read by parts.
    """
    self._path, self._name = path, name
    self._file: IO[bytes] | None = None
    with zipfile.ZipFile(path) as archive, archive.open(f'{name}.npy') as file:
      version = np.lib.format.read_magic(file)
      read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
      }.get(version)
      if read is None:
        raise DataError(f'{path}: {name} has an unknown format {version}.')
      self.shape, fortran, self.dtype = read(file)
      self._start = file.tell()
    if fortran or self.dtype.hasobject or not self.shape:
      raise DataError(
        f'{path}: {name} must be an array of numbers in C order, as np.savez '
        'writes it.'
      )

  def __len__(self) -> int:
    """Returns n."""
    return self.shape[0]

  def __getitem__(self, rows: slice) -> np.ndarray:
    """Reads consecutive rows; from compressed files fast only forwards."""
    start, stop, _ = rows.indices(len(self))
    row = math.prod(self.shape[1:]) * self.dtype.itemsize
    if self._file is None:  # it stays open, so that reading can go on
      self._file = zipfile.ZipFile(self._path).open(f'{self._name}.npy')
    try:
      self._file.seek(self._start + start * row)
      content = self._file.read((stop - start) * row)
    except (EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
      raise DataError(
        f'{self._path}: {self._name} is damaged: {error}'
      ) from error
    if len(content) != (stop - start) * row:
      raise DataError(f'{self._path}: {self._name} is cut off.')
    array = np.frombuffer(content, self.dtype)
    return array.reshape(stop - start, *self.shape[1:])
