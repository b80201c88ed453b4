"""Tokens on disk: a TFDS data set of what a tokenizer made of images.

    DIR/tokenizer.json         which tokenizer made it, of what; `complete`
    DIR/tokens-train.array_record-00000-of-00008, ...
    DIR/dataset_info.json, features.json, label.labels.txt

An example holds `tokens` int32 [h, w, *index_shape] (or `tokens_0`, `tokens_1`,
.. for several grids, coarsest first), its `label`, and the `index` of the image
in its source and the `pass` that made it. Plain TFDS reads it, too:
`tfds.builder_from_directory(DIR)`.
"""

import contextlib
import json
import os
import pathlib
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from vq_jax.data.base import Example
from vq_jax.data.base import Source
from vq_jax.data.errors import DataError
from vq_jax.data.splits import parse_split
from vq_jax.data.splits import require_split
from vq_jax.utils import paths as paths_lib

RECORD = 'tokenizer.json'
NAME = 'tokens'
LIMIT = 2**30  # bytes of tokens that are kept in memory
_CHUNK = 4096  # examples parsed at a time: a parsed one takes far more room


def feature_names(grids: int) -> tuple[str, ...]:
  """Returns the names of the tokens of so many grids."""
  return (NAME,) if grids == 1 else tuple(f'{NAME}_{i}' for i in range(grids))


def read_record(folder: str | os.PathLike) -> dict[str, Any]:
  """Reads `tokenizer.json`.

  Raises:
    DataError: if the folder holds no tokens.
  """
  path = pathlib.Path(folder).expanduser() / RECORD
  try:
    return {**json.loads(path.read_text())}
  except (OSError, TypeError, ValueError) as error:
    raise DataError(
      f'{folder} holds no tokens: {RECORD} cannot be read. Make them with: '
      'vqjax tokenize RUN --data SOURCE --out DIR'
    ) from error


def write_record(folder: pathlib.Path, record: Mapping[str, Any]) -> None:
  """Writes `tokenizer.json`; a reader sees the old or the new one."""
  text = json.dumps(record, indent=2) + '\n'
  paths_lib.write_text(folder / RECORD, text)


def claim(folder: pathlib.Path, record: Mapping[str, Any]) -> None:
  """Makes the folder, or checks that it holds the beginning of the same.

  Args:
    folder: where tokens are to be written.
    record: what `tokenizer.json` will hold, without `complete`.

  Raises:
    DataError: if it holds something else, and in what that differs.
  """
  if folder.exists() and not folder.is_dir():
    raise DataError(f'{folder} is a file; give a folder.')
  if (folder / RECORD).is_file():
    there = read_record(folder)
    # As JSON, which knows no tuples.
    here = json.loads(json.dumps(record))
    differ = [
      f'{key}: {there.get(key)!r:.60} there, {value!r:.60} here'
      for key, value in here.items()
      if there.get(key) != value
    ]
    if differ:
      raise DataError(
        f'{folder} holds other tokens; give another folder, or what made '
        f'those. They differ in {"; ".join(differ)}'
      )
    remove_leftovers(folder)
    return
  if folder.exists() and any(folder.iterdir()):
    raise DataError(
      f'{folder} is not empty and holds no tokens; give a new folder.'
    )
  folder.mkdir(parents=True, exist_ok=True)
  write_record(folder, {**record, 'complete': False})


def make_features(record: Mapping[str, Any]):
  """Returns the TFDS features of the data set that a record describes."""
  import tensorflow_datasets as tfds

  grids = {
    name: tfds.features.Tensor(shape=tuple(shape), dtype=np.int32)
    for name, shape in record['tokens'].items()
  }
  return tfds.features.FeaturesDict(
    {
      **grids,
      'label': tfds.features.ClassLabel(names=record['class_names']),
      'index': tfds.features.Scalar(np.int32),
      'pass': tfds.features.Scalar(np.int32),
    }
  )


def shard_path(
  folder: pathlib.Path, split: str, shard: int, shards: int
) -> pathlib.Path:
  """Returns where a shard lies, as TFDS expects it."""
  return folder / (f'{NAME}-{split}.array_record-{shard:05d}-of-{shards:05d}')


def write_shard(path: pathlib.Path, features, examples: Iterable) -> None:
  """Writes the examples of a shard; the file appears when it is complete.

  Raises:
    DataError: if it cannot be written, as on a full disk.
  """
  from array_record.python import array_record_module

  with paths_lib.replacing(path) as temporary:
    writer = array_record_module.ArrayRecordWriter(
      str(temporary), 'group_size:1'
    )
    for example in examples:
      _written(writer.write, features.serialize_example(example))
    _written(writer.close)


def _written(write: Callable, *arguments) -> None:
  """Calls a method of a writer, which knows one kind of error only."""
  try:
    write(*arguments)
  except RuntimeError as error:
    raise DataError(
      f'tokens cannot be written: {error}. Complete shards are kept; the same '
      'command goes on after them.'
    ) from error


@contextlib.contextmanager
def _readable() -> Iterator[None]:
  """Says what to do about a shard that cannot be read."""
  try:
    yield
  except RuntimeError as error:
    raise DataError(
      f'tokens are damaged: {error}. Remove the file if it is there, and run '
      'the command that makes them again; it makes what is missing.'
    ) from error


def remove_leftovers(folder: pathlib.Path) -> None:
  """Removes what a killed process was writing."""
  for path in folder.glob(f'.{NAME}-*'):
    path.unlink(missing_ok=True)


def write_metadata(
  folder: pathlib.Path, features, splits: Mapping[str, Sequence[pathlib.Path]]
) -> None:
  """Makes a TFDS data set of complete shards."""
  import tensorflow_datasets as tfds
  from array_record.python import array_record_module

  def lengths(paths):
    for path in paths:
      with _readable():
        reader = array_record_module.ArrayRecordReader(str(path))
        yield reader.num_records()
        reader.close()

  infos = [
    tfds.core.SplitInfo(
      name=split,
      shard_lengths=list(lengths(paths)),
      num_bytes=sum(path.stat().st_size for path in paths),
    )
    for split, paths in splits.items()
  ]
  tfds.folder_dataset.write_metadata(
    data_dir=os.fspath(folder),
    features=features,
    split_infos=infos,
    filename_template='{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}',
    check_data=False,  # it would need TensorFlow
    description='Tokens of images; tokenizer.json tells which tokenizer.',
  )


class TokenSource(Source):
  """Tokens of images, in place of images.

  Attributes:
    record: what `tokenizer.json` holds.
  """

  def __init__(self, folder: str | os.PathLike, split: str = 'train'):
    """Opens a split such as `train` or `train[:90%]`.

    Raises:
      DataError: if the folder holds no tokens, or not all of them yet.
    """
    import tensorflow_datasets as tfds

    self.record = read_record(folder)
    if not self.record.get('complete'):
      raise DataError(
        f'the tokens in {folder} are not complete; run the command that makes '
        'them again, it goes on where it was.'
      )
    path = pathlib.Path(folder).expanduser()
    try:
      self._names = tuple(self.record['tokens'])
      class_names = self.record['class_names']
      builder = tfds.builder_from_directory(os.fspath(path))
    except Exception as error:  # TFDS raises what its parsers raise
      raise DataError(
        f'the description of the tokens in {folder} is damaged: '
        f'{type(error).__name__}: {" ".join(str(error).split()):.200}. Copy '
        'its JSON files again, or make the tokens in a new folder.'
      ) from error
    parsed = parse_split(split)
    require_split(parsed, tuple(builder.info.splits), str(folder))
    self._rows = parsed.rows(builder.info.splits[parsed.name].num_examples)
    self._records = builder.as_data_source(parsed.name)
    super().__init__(name=f'tokens:{folder} {split}', class_names=class_names)
    bytes_of_one = 4 * sum(
      int(np.prod(shape)) for shape in self.record['tokens'].values()
    )
    self._arrays = None
    if len(self) * bytes_of_one <= LIMIT:
      self._arrays = self._read_all()

  def __len__(self) -> int:
    """Number of examples in the split."""
    return len(self._rows)

  def __getitem__(self, index: int) -> Example:
    """One example: its tokens and its label."""
    return {name: x[0] for name, x in self.batch(np.array([index])).items()}

  def batch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
    """Many examples at once: tokens int32 [B, h, w, ..] and `label` [B]."""
    if self._arrays is None:
      return self._read(indices)
    return {name: x[indices] for name, x in self._arrays.items()}

  def _read_all(self) -> dict[str, np.ndarray]:
    """Reads the split by chunks."""
    rows = np.arange(len(self))
    parts = [
      self._read(rows[start : start + _CHUNK])
      for start in range(0, len(rows), _CHUNK)
    ]
    return {
      name: np.concatenate([part[name] for part in parts]) for name in parts[0]
    }

  def _read(self, indices: Iterable[int]) -> dict[str, np.ndarray]:
    with _readable():
      records = self._records.__getitems__(
        [self._rows[int(i)] for i in indices]
      )
    names = (*self._names, 'label')
    return {
      name: np.array([record[name] for record in records], np.int32)
      for name in names
    }


def require_images(source: Source) -> Source:
  """Returns a source of images.

  Raises:
    DataError: if it holds tokens.
  """
  if isinstance(source, TokenSource):
    raise DataError(
      f'{source.name} holds tokens, and images are needed; give the data they '
      f'were made of: {source.record["source"]}'
    )
  return source
