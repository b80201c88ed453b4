"""The features of a set of images, as the metrics read them."""

import abc
import dataclasses
from collections.abc import Collection
from collections.abc import Mapping

import jax
import numpy as np

from vq_jax.evaluation import shards as shards_lib
from vq_jax.metrics import frechet
from vq_jax.metrics import rows as rows_lib
from vq_jax.utils import paths


class FeatureSet(abc.ABC):
  """Features of a set of images, or only their Gaussians.

  Attributes:
    name: name of the set in records.
    checksum: SHA-256 of its pixels, or of the file of its statistics.
    count: number of images; None if it is not known.
  """

  name: str
  checksum: str
  count: int | None

  @abc.abstractmethod
  def rows(self, array: str) -> rows_lib.Rows:
    """Returns an array [n, ...] of the images, such as `pooled`."""

  @abc.abstractmethod
  def gaussian(self, array: str) -> frechet.Gaussian:
    """Returns the Gaussian fitted to an array [n, D]."""


class StoredFeatures(FeatureSet):
  """The features in the shards of a pass, or of some of its images."""

  count: int

  def __init__(
    self,
    shards: shards_lib.Shards,
    *,
    name: str,
    checksum: str,
    index: np.ndarray | None = None,
  ):
    """Takes the shards.

    Args:
      shards: complete shards.
      name: see `FeatureSet`.
      checksum: see `FeatureSet`.
      index: the numbers of the images that belong to the set; None for all.
    """
    self.name, self.checksum = name, checksum
    self._shards, self._index = shards, index
    self._gaussians: dict[str, frechet.Gaussian] = {}
    self.count = len(self.rows('digest'))

  def rows(self, array: str) -> rows_lib.Rows:
    """Returns an array of the images, which stays in its files."""
    rows = self._shards.rows(array)
    return rows if self._index is None else SelectedRows(rows, self._index)

  def gaussian(self, array: str) -> frechet.Gaussian:
    """Fits a Gaussian in one pass over the files."""
    if array not in self._gaussians:
      self._gaussians[array] = self._read_gaussian(array)
    return self._gaussians[array]

  def _read_gaussian(self, array: str) -> frechet.Gaussian:
    """Fits a Gaussian, or reads one that was fitted before, of a whole set."""
    path = self._shards.folder / f'gaussian_{array}.npz'
    if self._index is None and path.is_file():
      with np.load(path) as file:
        return frechet.Gaussian(
          count=int(file['count']), mean=file['mean'], scatter=file['scatter']
        )
    found = frechet.fit_batches(rows_lib.chunks(self.rows(array)))
    if self._index is None and jax.process_index() == 0:
      with paths.replacing(path) as temporary, temporary.open('wb') as file:
        np.savez(file, **dataclasses.asdict(found))
    return found

  def select(self, index: np.ndarray) -> 'StoredFeatures':
    """Returns the set of some of the images, by their numbers int [m]."""
    index = index if self._index is None else self._index[index]
    return StoredFeatures(
      self._shards, name=self.name, checksum=self.checksum, index=index
    )

  def remove(self) -> None:
    """Removes the files."""
    self._shards.remove()

  def sample(self, count: int, seed: int) -> 'StoredFeatures':
    """Returns a random part of at most `count` images."""
    if self.count <= count:
      return self
    rng = np.random.default_rng(seed)
    return self.select(np.sort(rng.choice(self.count, count, replace=False)))


class Statistics(FeatureSet):
  """Gaussians without the features that they were fitted to."""

  def __init__(
    self,
    gaussians: Mapping[str, frechet.Gaussian],
    *,
    name: str,
    checksum: str,
    count: int | None,
    extractor: Mapping[str, str | None] | None = None,
    image_shape: tuple[int, ...] | None = None,
  ):
    """Takes the Gaussians.

    Args:
      gaussians: array -> its Gaussian.
      name: see `FeatureSet`.
      checksum: see `FeatureSet`.
      count: see `FeatureSet`.
      extractor: `passes.describe_extractor` of the network, if it is known.
      image_shape: (H, W, C) of the images, if it is known.
    """
    self.name, self.checksum, self.count = name, checksum, count
    self.gaussians, self.extractor = dict(gaussians), extractor
    self.image_shape = image_shape

  def select(self, arrays: Collection[str]) -> 'Statistics':
    """Returns the Gaussians of some arrays."""
    return Statistics(
      {array: self.gaussians[array] for array in arrays},
      name=self.name,
      checksum=self.checksum,
      count=self.count,
      extractor=self.extractor,
      image_shape=self.image_shape,
    )

  def rows(self, array: str) -> rows_lib.Rows:
    """Raises ValueError, since there are only statistics."""
    raise ValueError(
      f'{self.name} has only statistics, and not the features of its images.'
    )

  def gaussian(self, array: str) -> frechet.Gaussian:
    """Returns the Gaussian of an array."""
    if array not in self.gaussians:
      raise ValueError(
        f'{self.name} has statistics of {", ".join(self.gaussians)}, and none '
        f'of {array}.'
      )
    return self.gaussians[array]


class SelectedRows:
  """Some rows of an array, which are read when they are needed.

  Attributes:
    shape: (m, ...).
    dtype: the type of the elements.

  Example:
    >>> rows = SelectedRows(np.arange(6.0)[:, None], np.array([1, 3, 5]))
    >>> rows.shape, rows[1:].ravel().tolist()
    ((3, 1), [3.0, 5.0])
  """

  def __init__(self, rows: rows_lib.Rows, index: np.ndarray):
    """Takes an array [n, ...] and the numbers of its rows, int [m]."""
    self._rows, self._index = rows, index
    self.shape = (len(index), *rows.shape[1:])
    self.dtype = rows.dtype

  def __len__(self) -> int:
    """Returns m."""
    return self.shape[0]

  def __getitem__(self, index: slice | np.ndarray) -> np.ndarray:
    """Reads rows, by a slice or by integers."""
    return self._rows[self._index[index]]
