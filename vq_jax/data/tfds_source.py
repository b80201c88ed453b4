"""TensorFlow Datasets as a source, without TensorFlow.

`tensorflow_datasets` is imported in functions because its import is slow.
"""

import contextlib
import importlib
import io
import os
import socket
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from collections.abc import Sequence

import numpy as np

from vq_jax.data.base import Example
from vq_jax.data.base import Source
from vq_jax.data.base import check_label
from vq_jax.data.base import example_or_error
from vq_jax.data.decode import check_channels
from vq_jax.data.decode import decode_image
from vq_jax.data.errors import DataError
from vq_jax.data.errors import UnreadableImage
from vq_jax.data.splits import parse_split
from vq_jax.data.splits import require_split
from vq_jax.utils import packages

EMBEDDED = 'fashion_mnist_mini'
_FORMAT = 'array_record'


class TfdsSource(Source):
  """A split of a TFDS data set with images and, optionally, class labels.

  The data set must be stored as ArrayRecord, which has random access.
  """

  def __init__(
    self,
    dataset: str,
    split: str = 'train',
    *,
    data_dir: str | os.PathLike | None = None,
    channels: int | None = None,
    max_unreadable: int = 100,
  ):
    """Opens a data set; downloads and prepares it if necessary.

    Args:
      dataset: name of the data set, such as `cifar10` or `fashion_mnist_mini`.
      split: TFDS split string.
      data_dir: folder of the data sets; None for the environment variable
        TFDS_DATA_DIR or the default of TFDS.
      channels: 1 or 3 converts the images; None takes them as they are.
      max_unreadable: number of images that may fail to decode.

    Raises:
      DataError: if the data set or the split does not exist, has no images, or
        is stored in a format without random access.
    """
    with packages.required_for(f'tfds:{dataset}'):
      import tensorflow_datasets as tfds

    check_channels(channels)
    builder = _prepared_builder(dataset, data_dir)
    self._image, self._label = _features(builder)
    _check_split(builder, split)
    # TFDS cannot decode palettes, transparency and EXIF orientation.
    decoders = {self._image: tfds.decode.SkipDecoding()}
    try:
      _require_examples(builder, split)
      self._records = builder.as_data_source(split, decoders=decoders)
    except ValueError as error:
      raise DataError(f'tfds:{dataset}: {_one_line(error)}') from error
    *size, stored = builder.info.features[self._image].shape
    self._channels = channels or (1 if stored == 1 else 3)
    super().__init__(
      name=f'tfds:{dataset} {split}',
      class_names=_class_names(builder, self._label),
      image_shape=None if None in size else (*size, self._channels),
      max_unreadable=max_unreadable,
    )

  def __len__(self) -> int:
    """Returns the number of examples of the split."""
    return len(self._records)

  def __getitem__(self, index: int) -> Example:
    """Reads and decodes one example; see `Source`."""
    return self._decoded(index, self._records[index])

  def read(self, indices: Sequence[int]) -> Iterator[Example | UnreadableImage]:
    """Reads the records of several examples at once; see `Source`."""
    indices = [int(index) for index in indices]
    records = self._records.__getitems__(indices)
    for index, record in zip(indices, records, strict=True):
      yield example_or_error(self._decoded, index, record)

  def _decoded(self, index: int, record) -> Example:
    name = f'{self.name} example {index}'
    image = decode_image(
      record[self._image], channels=self._channels, name=name
    )
    label = int(record[self._label]) if self._label else 0
    check_label(label, self.num_classes, name)
    return {'image': image, 'label': np.asarray(label, np.int32)}


def _prepared_builder(dataset: str, data_dir: str | os.PathLike | None):
  """Returns the builder of a data set that is stored as ArrayRecord."""
  import tensorflow_datasets as tfds

  builder = _named_builder(dataset, data_dir)
  if not builder.data_path.exists():
    _prepare(builder)
  # A builder made from code knows only one of the formats on disk.
  builder = tfds.builder_from_directory(builder.data_path)
  formats = {format_.value for format_ in builder.info.available_file_formats()}
  if _FORMAT not in formats:
    raise DataError(
      f'{dataset} must be stored as ArrayRecord to be read in random order; '
      f'{builder.data_path} holds {", ".join(sorted(formats))}. Convert it '
      f'with: {sys.executable} -m vq_jax.data.convert_tfrecord '
      f'{builder.data_path}'
    )
  return builder


def _named_builder(dataset: str, data_dir: str | os.PathLike | None):
  import tensorflow_datasets as tfds

  if dataset.split(':')[0] == EMBEDDED:
    # The import registers it.
    importlib.import_module('vq_jax.data.fashion_mnist_mini.builder')
  data_dir = data_dir and os.path.expanduser(os.fspath(data_dir))
  try:
    return tfds.builder(dataset, data_dir=data_dir)
  except tfds.core.DatasetNotFoundError as error:
    raise DataError(
      f'TFDS knows no data set {dataset!r}, and none of that name is prepared '
      f'in {data_dir or tfds.core.constants.DATA_DIR}. Names are listed at '
      'https://www.tensorflow.org/datasets/catalog.'
    ) from error
  except (AssertionError, ValueError) as error:  # version, config, form
    raise DataError(f'tfds:{dataset}: {_one_line(error)}') from error


def _prepare(builder) -> None:
  """Prepares a data set; another process may do the same at that time."""
  embedded = builder.name == EMBEDDED
  if not embedded:
    _require_network(builder)
  try:
    with _quiet(builder) if embedded else contextlib.nullcontext():
      builder.download_and_prepare(file_format=_FORMAT)
  except Exception as error:  # network, disk, missing manual files, TensorFlow
    # TFDS renames its folder at the end, so a folder that exists now was
    # completed by another process.
    if builder.data_path.exists():
      return
    raise DataError(
      f'{builder.name} could not be prepared in {builder.data_path}: '
      f'{type(error).__name__}: {_one_line(error)}'
    ) from error


@contextlib.contextmanager
def _quiet(builder):
  """Replaces the progress bars and messages of TFDS by one line."""
  import tensorflow_datasets as tfds

  print(f'preparing {builder.name} in {builder.data_path}', file=sys.stderr)
  tfds.display_progress_bar(False)
  try:
    with contextlib.redirect_stdout(io.StringIO()):
      yield
  finally:
    tfds.display_progress_bar(True)


def _require_network(builder) -> None:
  """Raises DataError without a network, where TFDS would retry for minutes."""
  if builder.MANUAL_DOWNLOAD_INSTRUCTIONS or urllib.request.getproxies():
    return
  downloads = builder.data_dir_root / 'downloads'
  if any([*downloads.glob('*.INFO'), *downloads.glob('*/*.INFO')]):
    return  # the files may have been downloaded already
  hosts = {urllib.parse.urlsplit(url).hostname for url in builder.url_infos}
  hosts.discard(None)
  if not hosts or any(_resolves(host) for host in hosts):
    return
  raise DataError(
    f'{builder.name} is not prepared in {builder.data_path} and cannot be '
    f'downloaded: no network reaches {", ".join(sorted(hosts))}. Prepare it '
    f'where there is one and copy the folder, or use tfds:{EMBEDDED}.'
  )


def _resolves(host: str) -> bool:
  try:
    socket.getaddrinfo(host, None)
  except OSError:
    return False
  return True


def _features(builder) -> tuple[str, str | None]:
  """Returns the names of the image and the label; None without a label."""
  import tensorflow_datasets as tfds

  features = dict(builder.info.features)
  image = _the_one(features, 'image', tfds.features.Image)
  label = _the_one(features, 'label', tfds.features.ClassLabel)
  if image is None:
    raise DataError(
      f'{builder.name} must have a feature `image`, or just one that is an '
      f'image; it has {", ".join(sorted(features))}.'
    )
  return image, label


def _the_one(features: dict, name: str, kind: type) -> str | None:
  """Returns the feature of a type with a name, or the only one of the type."""
  names = [
    key for key, feature in features.items() if isinstance(feature, kind)
  ]
  if name in names:
    return name
  return names[0] if len(names) == 1 else None


def _class_names(builder, label: str | None) -> tuple[str, ...]:
  if label is None:
    return ('all',)
  feature = builder.info.features[label]
  return tuple(feature.names or map(str, range(feature.num_classes)))


def _check_split(builder, split: str) -> None:
  """Raises DataError if a split does not exist; TFDS checks the bounds."""
  for part in split.split('+'):
    parsed = parse_split(part.strip())
    if parsed.name != 'all':
      require_split(parsed, tuple(builder.info.splits), builder.name)


def _require_examples(builder, split: str) -> None:
  """Raises ValueError if a split contains no example between its bounds."""
  if builder.info.splits[split].num_examples < 1:
    raise ValueError(f'the split {split!r} must hold at least one example.')


def _one_line(error: Exception) -> str:
  text = ' '.join(str(error).split())
  return text if len(text) <= 400 else f'{text[:400]}...'
