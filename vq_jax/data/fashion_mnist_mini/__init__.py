"""A small balanced part of Fashion-MNIST, carried inside the package.

10,000 training and 2,000 test images, 28 x 28 x 1 uint8, 1,000 and 200 of each
of the ten classes. `make.py` makes the two archives, `builder.py` registers
them with TensorFlow Datasets as `fashion_mnist_mini`, and `load` reads them
directly. Fashion-MNIST is (c) 2017 Zalando SE, MIT licence: see `LICENSE`.
"""

import lzma
import pathlib

import numpy as np

CLASS_NAMES = (
  'T-shirt/top',
  'Trouser',
  'Pullover',
  'Dress',
  'Coat',
  'Sandal',
  'Shirt',
  'Sneaker',
  'Bag',
  'Ankle boot',
)
IMAGE_SHAPE = (28, 28, 1)
PER_CLASS = {'train': 1000, 'test': 200}


def archive_path(split: str) -> pathlib.Path:
  """Where the archive of a split lies: pixels, then labels, xz-compressed."""
  return pathlib.Path(__file__).parent / f'{split}.xz'


def load(split: str) -> tuple[np.ndarray, np.ndarray]:
  """Reads a split from the package.

  Args:
    split: 'train' or 'test'.

  Returns:
    images uint8 [N, 28, 28, 1] and labels int32 [N]. Row i has label i % 10,
    so that every slice whose bounds are multiples of ten is balanced.
  """
  count = PER_CLASS[split] * len(CLASS_NAMES)
  raw = lzma.decompress(archive_path(split).read_bytes())
  pixels, labels = np.split(np.frombuffer(raw, np.uint8), [len(raw) - count])
  return pixels.reshape(count, *IMAGE_SHAPE), labels.astype(np.int32)
