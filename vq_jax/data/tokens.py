"""Tokenized data sets: the tokens of images on disk, in the format of TFDS.

    DIR/tokenizer.json         the tokenizer and the source; `complete`
    DIR/tokens-train.array_record-00000-of-00008, ...
    DIR/dataset_info.json, features.json, label.labels.txt

An example has `tokens` int32 [h, w, *index_shape] (or `tokens_0`, `tokens_1`,
... for several levels, coarsest first), its `label`, the `index` of the image
in its source, and the number of the `pass` over the source. TFDS can read it
too: `tfds.builder_from_directory(DIR)`.
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
from vq_jax.utils import packages
from vq_jax.utils import paths as paths_lib

RECORD = 'tokenizer.json'
NAME = 'tokens'
LIMIT = 2**30  # number of bytes of tokens that are kept in memory
_CHUNK = 4096  # examples parsed at a time; while parsed, they take more memory


def feature_names(grids: int) -> tuple[str, ...]:
  """Returns the names of the features of a number of token grids."""
  return (NAME,) if grids == 1 else tuple(f'{NAME}_{i}' for i in range(grids))


def read_record(folder: str | os.PathLike) -> dict[str, Any]:
  """Reads `tokenizer.json`.

  Raises:
    DataError: if the folder contains no tokens.
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
  """Writes `tokenizer.json`."""
  text = json.dumps(record, indent=2) + '\n'
  paths_lib.write_text(folder / RECORD, text)


def claim(folder: pathlib.Path, record: Mapping[str, Any]) -> None:
  """Creates a folder for tokens, or checks that an existing one can go on.

  Args:
    folder: the folder.
    record: content of `tokenizer.json`, without `complete`.

  Raises:
    DataError: if the folder contains something else, or tokens whose record
      differs; the message lists the differences.
  """
  if folder.exists() and not folder.is_dir():
    raise DataError(f'{folder} is a file; give a folder.')
  if (folder / RECORD).is_file():
    there = read_record(folder)
    # As it is read from JSON, which has no tuples.
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
  """Returns the TFDS features of a tokenized data set."""
  with packages.required_for('writing tokens'):
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
  """Returns the path of a shard, in the form that TFDS expects."""
  return folder / (f'{NAME}-{split}.array_record-{shard:05d}-of-{shards:05d}')


def write_shard(path: pathlib.Path, features, examples: Iterable) -> None:
  """Writes the examples of a shard atomically.

  Raises:
    DataError: if the file cannot be written, for example on a full disk.
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
  """Calls a method of a writer, whose errors are all RuntimeError."""
  try:
    write(*arguments)
  except RuntimeError as error:
    raise DataError(
      f'tokens cannot be written: {error}. Complete shards are kept; the same '
      'command goes on after them.'
    ) from error


@contextlib.contextmanager
def _readable() -> Iterator[None]:
  """Raises DataError with advice for a shard that cannot be read."""
  try:
    yield
  except RuntimeError as error:
    raise DataError(
      f'tokens are damaged: {error}. Remove the file if it is there, and run '
      'the command that makes them again; it makes what is missing.'
    ) from error


def remove_leftovers(folder: pathlib.Path) -> None:
  """Removes the incomplete files of processes that were killed."""
  for path in folder.glob(f'.{NAME}-*'):
    path.unlink(missing_ok=True)


def write_metadata(
  folder: pathlib.Path, features, splits: Mapping[str, Sequence[pathlib.Path]]
) -> None:
  """Writes the metadata of TFDS for complete shards."""
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
    check_data=False,  # the check needs TensorFlow
    description='Tokens of images by the tokenizer in tokenizer.json.',
  )


class TokenSource(Source):
  """A source of tokens that `vqjax tokenize` has written.

  Its batches have `tokens`, or `tokens_0`, `tokens_1`, ..., instead of `image`.

  Attributes:
    record: content of `tokenizer.json`.
  """

  def __init__(self, folder: str | os.PathLike, split: str = 'train'):
    """Opens a split such as `train` or `train[:90%]` of a folder.

    Raises:
      DataError: if the folder contains no tokens, or not yet all of them.
    """
    with packages.required_for('reading tokens'):
      import tensorflow_datasets as tfds

    self.record = read_record(folder)
    if not self.record.get('complete'):
      raise DataError(
        f'the tokens in {folder} are not complete; run the command that makes '
        'them again, it goes on where it was.'
      )
    try:
      self._names = tuple(self.record['tokens'])
      class_names = self.record['class_names']
      builder = tfds.builder_from_directory(os.path.expanduser(folder))
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
    """Returns the number of examples of the split."""
    return len(self._rows)

  def __getitem__(self, index: int) -> Example:
    """Returns one example: its tokens and its label."""
    return {name: x[0] for name, x in self.batch(np.array([index])).items()}

  def batch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
    """Returns a batch: tokens int32 [B, h, w, ...] and `label` int32 [B]."""
    if self._arrays is None:
      return self._read(indices)
    return {name: x[indices] for name, x in self._arrays.items()}

  def _read_all(self) -> dict[str, np.ndarray]:
    """Reads the whole split."""
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
      rows = [self._rows[int(i)] for i in indices]
      records = self._records.__getitems__(rows)
    return {
      name: np.array([record[name] for record in records], np.int32)
      for name in (*self._names, 'label')
    }


def require_images(source: Source) -> Source:
  """Returns the source if it is one of images.

  Raises:
    DataError: if it is one of tokens.
  """
  if isinstance(source, TokenSource):
    raise DataError(
      f'{source.name} holds tokens, and images are needed; give the data they '
      f'were made of: {source.record["source"]}'
    )
  return source
