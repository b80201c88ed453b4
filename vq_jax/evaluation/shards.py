"""Numbers of examples in files, written in shards so that work can resume.

    FOLDER/pass.json               what is computed
    FOLDER/00000/pooled.npy, ...   arrays [n, ...] of the examples of one shard

A shard appears under its name only when it is complete.
"""

import contextlib
import json
import math
import os
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from vq_jax.utils import devices
from vq_jax.utils import paths

_DESCRIPTION = 'pass.json'


class Shards:
  """The shards of one pass over a set of images.

  Attributes:
    folder: the folder with the shards.
    total: number of examples of the pass.
    size: number of examples of a shard, without those that cannot be read.
  """

  def __init__(self, folder: pathlib.Path, total: int, size: int):
    """Takes a folder that `claim` has prepared."""
    self.folder, self.total, self.size = folder, total, size
    self._rows: dict[str, ShardedRows] = {}

  def __len__(self) -> int:
    """Returns the number of shards."""
    return math.ceil(self.total / self.size)

  def examples(self, shard: int) -> range:
    """Returns the numbers of the examples of a shard."""
    start = shard * self.size
    return range(start, min(start + self.size, self.total))

  def path(self, shard: int) -> pathlib.Path:
    """Returns the folder of a shard."""
    return self.folder / f'{shard:05d}'

  def write(self, shard: int, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes the arrays [n, ...] of a shard atomically."""
    temporary = self.folder / f'.{shard:05d}.{os.getpid()}'
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    for name, array in arrays.items():
      np.save(temporary / f'{name}.npy', array)
    temporary.rename(self.path(shard))

  def rows(self, name: str) -> 'ShardedRows':
    """Returns the array of a name, of all shards, which must be complete."""
    if name not in self._rows:
      files = [self.path(i) / f'{name}.npy' for i in range(len(self))]
      # A shard of which no image could be read has no arrays.
      files = [file for file in files if file.is_file()]
      if not files:
        raise ValueError('none of the images could be read.')
      self._rows[name] = ShardedRows(files)
    return self._rows[name]

  def remove(self) -> None:
    """Removes all files, in the first process, when no one reads them."""
    devices.wait_for_processes('read')
    if jax.process_index() == 0:
      shutil.rmtree(self.folder, ignore_errors=True)
      with contextlib.suppress(OSError):  # other passes are in it
        self.folder.parent.rmdir()


def claim(
  folder: pathlib.Path, description: Mapping[str, Any], total: int, size: int
) -> Shards:
  """Prepares a folder for a pass, or finds what is there of the same pass.

  Args:
    folder: the folder. Shards of another pass in it are removed.
    description: what is computed, as JSON.
    total: number of examples.
    size: number of examples of a shard.
  """
  text = json.dumps(description, indent=2, sort_keys=True) + '\n'

  def prepare():
    path = folder / _DESCRIPTION
    if jax.process_index() == 0:
      if not path.is_file() or path.read_text() != text:
        shutil.rmtree(folder, ignore_errors=True)
        paths.write_text(path, text)
      for leftover in folder.glob('.*'):
        shutil.rmtree(leftover, ignore_errors=True)

  devices.first_process_first(prepare)
  return Shards(folder, total, size)


class ShardedRows:
  """An array [n, ...] in several files, which is indexed like one in memory.

  Attributes:
    shape: (n, ...).
    dtype: the type of the elements.

  Example:
    >>> import pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> for i in range(3):
    ...   np.save(folder / f'{i}.npy', np.full((2, 1), i))
    >>> rows = ShardedRows([folder / f'{i}.npy' for i in range(3)])
    >>> rows.shape, rows[1:4].ravel().tolist(), rows[np.array([5, 0])].tolist()
    ((6, 1), [0, 1, 1], [[2], [0]])
  """

  def __init__(self, files: list[pathlib.Path]):
    """Reads the shapes of the files, which remain closed."""
    first = np.load(files[0], mmap_mode='r')
    self._files = files
    lengths = [len(np.load(file, mmap_mode='r')) for file in files]
    self._starts = np.cumsum([0, *lengths])
    self.shape = (int(self._starts[-1]), *first.shape[1:])
    self.dtype = first.dtype

  def __len__(self) -> int:
    """Returns n."""
    return self.shape[0]

  def __getitem__(self, index: slice | np.ndarray) -> np.ndarray:
    """Reads rows, by a slice or by integers [m], into memory."""
    if isinstance(index, slice):
      index = np.arange(len(self))[index]
    found = np.empty((len(index), *self.shape[1:]), self.dtype)
    shards = np.searchsorted(self._starts, index, side='right') - 1
    for shard in np.unique(shards):
      own = shards == shard
      array = np.load(self._files[shard], mmap_mode='r')
      found[own] = array[index[own] - self._starts[shard]]
    return found
