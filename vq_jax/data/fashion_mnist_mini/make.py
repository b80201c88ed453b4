"""Makes the archives of `fashion_mnist_mini` from the full Fashion-MNIST.

Of every class the first 1,000 training and the first 200 test images are
taken, in file order, and the classes are dealt in turn: 0, 1, .. 9, 0, 1, ..
The test images come from the t10k file only. Running it again gives the same
bytes. Debian's package `dataset-fashion-mnist` has the four files:

  python -m vq_jax.data.fashion_mnist_mini.make [folder with the files]
"""

import argparse
import gzip
import hashlib
import lzma
import pathlib

import numpy as np

from vq_jax.data import fashion_mnist_mini

# MD5 of the decompressed files; the .gz files of different distributors differ.
_MD5 = {
  'train-images-idx3-ubyte': 'f4a8712d7a061bf5bd6d2ca38dc4d50a',
  'train-labels-idx1-ubyte': '9018921c3c673c538a1fc5bad174d6f9',
  't10k-images-idx3-ubyte': '8181f5470baa50b63fa0f6fddb340f0a',
  't10k-labels-idx1-ubyte': '15d484375f8d13e6eb1aabb0c3f46965',
}
_STEMS = {'train': 'train', 'test': 't10k'}


def _read(directory: pathlib.Path, name: str, header: int) -> np.ndarray:
  raw = gzip.decompress((directory / f'{name}.gz').read_bytes())
  digest = hashlib.md5(raw).hexdigest()
  if digest != _MD5[name]:
    raise ValueError(
      f'{name}.gz must decompress to the original file, MD5 {_MD5[name]}; got '
      f'{digest}. Take the files of the Debian package dataset-fashion-mnist.'
    )
  return np.frombuffer(raw, np.uint8, offset=header)


def select(labels: np.ndarray, per_class: int) -> np.ndarray:
  """Rows of the first `per_class` examples of each class, dealt in turn."""
  rows = [np.flatnonzero(labels == c)[:per_class] for c in range(10)]
  return np.stack(rows, axis=1).reshape(-1)


def make(source: pathlib.Path, target: pathlib.Path) -> None:
  """Writes `train.xz` and `test.xz` into `target`."""
  for split, stem in _STEMS.items():
    pixels = _read(source, f'{stem}-images-idx3-ubyte', 16).reshape(-1, 784)
    labels = _read(source, f'{stem}-labels-idx1-ubyte', 8)
    rows = select(labels, fashion_mnist_mini.PER_CLASS[split])
    raw = pixels[rows].tobytes() + labels[rows].tobytes()
    data = lzma.compress(raw, preset=9 | lzma.PRESET_EXTREME)
    (target / f'{split}.xz').write_bytes(data)
    print(f'{split}: {len(rows)} images, {len(data)} bytes')


if __name__ == '__main__':
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument(
    'source',
    nargs='?',
    type=pathlib.Path,
    default='/usr/share/datasets/fashion-mnist',
    help='the folder with the four .gz files',
  )
  make(parser.parse_args().source, pathlib.Path(__file__).parent)
