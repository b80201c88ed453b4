"""Converts a TFDS data set from TFRecord to ArrayRecord.

    python -m vq_jax.data.convert_tfrecord ~/tensorflow_datasets/cifar10/3.0.2

Both formats contain the same serialized examples, so nothing is decoded and
TensorFlow is not needed. The TFRecord files are kept.
"""

import argparse
import json
import os
import pathlib

from vq_jax.data.errors import DataError
from vq_jax.utils import packages
from vq_jax.utils import paths

_INFO = 'dataset_info.json'


def convert_tfrecord(directory: str | os.PathLike) -> list[pathlib.Path]:
  """Converts all splits of one version of a data set.

  Args:
    directory: folder with `dataset_info.json` and the record files.

  Returns:
    The files that were written.

  Raises:
    DataError: if the folder does not contain a TFRecord data set.
  """
  directory = pathlib.Path(directory).expanduser()
  sources = sorted(directory.glob('*.tfrecord-*-of-*'))
  if not sources or not (directory / _INFO).exists():
    raise DataError(
      f'{directory} must hold {_INFO} and *.tfrecord-*-of-* files, as TFDS '
      'writes them for one version of a data set, e.g. cifar10/3.0.2.'
    )
  targets = [
    path.with_name(path.name.replace('.tfrecord-', '.array_record-'))
    for path in sources
  ]
  for source, target in zip(sources, targets, strict=True):
    _convert_file(source, target)
  # The data set lists the new format once all files are complete.
  _declare(directory / _INFO)
  return targets


def _convert_file(source: pathlib.Path, target: pathlib.Path) -> None:
  with packages.required_for('converting TFRecord files'):
    import grain
    from array_record.python import array_record_module

  with paths.replacing(target) as temporary:
    writer = array_record_module.ArrayRecordWriter(
      str(temporary), 'group_size:1'
    )
    for record in grain.experimental.TFRecordIterDataset(str(source)):
      writer.write(record)
    writer.close()


def _declare(path: pathlib.Path) -> None:
  info = json.loads(path.read_text())
  formats = info.setdefault('alternativeFileFormats', [])
  if 'array_record' not in formats:
    formats.append('array_record')
  paths.write_text(path, json.dumps(info, indent=2, sort_keys=True))


if __name__ == '__main__':
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument(
    'directory', help='e.g. ~/tensorflow_datasets/mnist/3.0.1'
  )
  for written in convert_tfrecord(parser.parse_args().directory):
    print(written)
