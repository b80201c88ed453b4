"""The base class of sources of images, and a source of arrays."""

import abc
import hashlib
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from vq_jax.data.errors import DataError
from vq_jax.data.errors import UnreadableImage
from vq_jax.data.splits import parse_split
from vq_jax.data.splits import require_split
from vq_jax.utils import fields

_MOST_CLASSES = 2**20  # larger labels are identifiers or overflows

Example = Mapping[str, np.ndarray]


class Source(abc.ABC):
  """A finite sequence of labelled images with random access.

  A subclass defines `__len__` and `__getitem__`.

  Attributes:
    name: name of the source in messages.
    class_names: one name per class; one name if there are no labels.
    image_shape: (H, W, C) if all images are known to have it, else None.
    max_unreadable: number of images that may fail to decode before reading
      stops with an error.
  """

  def __init__(
    self,
    *,
    name: str,
    class_names: Sequence[str],
    image_shape: tuple[int, int, int] | None = None,
    max_unreadable: int = 100,
  ):
    """Sets the attributes of the class."""
    max_unreadable = fields.check_value(
      'max_unreadable', max_unreadable, fields.NonNegativeInt, error=DataError
    )
    self.name = name
    self.class_names = tuple(class_names)
    self.image_shape = image_shape
    self.max_unreadable = max_unreadable

  @property
  def num_classes(self) -> int:
    """Number of classes; 1 if there are no labels."""
    return len(self.class_names)

  @abc.abstractmethod
  def __len__(self) -> int:
    """Returns the number of examples."""

  @abc.abstractmethod
  def __getitem__(self, index: int) -> Example:
    """Returns one example: `image` uint8 [H, W, C] and `label` int32 [].

    Args:
      index: position of the example, from 0.

    Raises:
      UnreadableImage: if the image cannot be decoded.
    """

  def read(self, indices: Sequence[int]) -> Iterator[Example | UnreadableImage]:
    """Reads several examples, each of them when it is asked for.

    Args:
      indices: positions of the examples.

    Yields:
      An example, or the error if its image cannot be decoded.
    """
    for index in indices:
      yield example_or_error(self.__getitem__, int(index))

  def fingerprint(self) -> str:
    """Returns a text that is another one when the examples have changed.

    A subclass overrides it if the name and the number do not identify them.
    """
    return f'{self.name}: {len(self)}'

  def __repr__(self) -> str:
    """Describes the source."""
    return (
      f'{type(self).__name__}({self.name}: {len(self)} examples, '
      f'{self.num_classes} classes)'
    )


class ArraySource(Source):
  """A source of images in one array.

  Example:
    >>> import numpy as np
    >>> images = np.zeros((4, 8, 8, 1), np.uint8)
    >>> source = ArraySource(images, np.array([0, 1, 1, 0]))
    >>> len(source), source.num_classes, source.image_shape
    (4, 2, (8, 8, 1))
    >>> source.batch(np.array([2, 3]))['label']
    array([1, 0], dtype=int32)
  """

  def __init__(
    self,
    images: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    class_names: Sequence[str] | None = None,
    name: str = 'array',
  ):
    """Wraps arrays without a copy.

    Args:
      images: uint8 [N, H, W, C] or [N, H, W].
      labels: integers [N] in [0, number of classes); None if there are none.
      class_names: names of the classes; the numbers of the labels by default.
      name: name of the source in messages.

    Raises:
      DataError: if a shape, a dtype or a label is wrong.
    """
    self.images = _checked_images(np.asarray(images), name)
    if labels is None:
      labels = np.zeros(len(self.images), np.int32)
      class_names = class_names or ('all',)
    self.labels = _checked_labels(np.asarray(labels), len(self.images), name)
    if class_names is None:
      class_names = tuple(str(c) for c in range(self.labels.max() + 1))
    check_label(int(self.labels.max()), len(class_names), name)
    super().__init__(
      name=name, class_names=class_names, image_shape=self.images.shape[1:]
    )

  def __len__(self) -> int:
    """Returns the number of examples."""
    return len(self.images)

  def __getitem__(self, index: int) -> Example:
    """Returns one example."""
    return {'image': self.images[index], 'label': self.labels[index]}

  def batch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
    """Returns a batch: `image` uint8 [B, H, W, C] and `label` int32 [B]."""
    return {'image': self.images[indices], 'label': self.labels[indices]}

  def fingerprint(self) -> str:
    """Returns the SHA-256 of the images and labels."""
    digest = hashlib.sha256(str(self.images.shape).encode())
    digest.update(np.ascontiguousarray(self.images).data)
    digest.update(np.ascontiguousarray(self.labels).data)
    return digest.hexdigest()

  def subset(self, split: str) -> 'ArraySource':
    """Returns the examples of a split, such as `train[:90%]`.

    The whole array is the split `train`, in its order.
    """
    parsed = parse_split(split)
    require_split(parsed, ('train',), self.name)
    rows = parsed.rows(len(self))
    return ArraySource(
      self.images[rows.start : rows.stop],
      self.labels[rows.start : rows.stop],
      class_names=self.class_names,
      name=f'{self.name} {split}',
    )


def example_or_error(
  decode: Callable[..., Example], *args: Any
) -> Example | UnreadableImage:
  """Returns decode(*args), or the error if the image cannot be decoded."""
  try:
    return decode(*args)
  except UnreadableImage as error:
    return error


def check_label(label: int, num_classes: int, name: str) -> None:
  """Raises DataError unless 0 <= label < num_classes."""
  if not 0 <= label < num_classes:
    raise DataError(
      f'labels must lie in [0, {num_classes}), the number of classes; '
      f'{name} has the label {label}.'
    )


def _checked_images(images: np.ndarray, name: str) -> np.ndarray:
  if images.ndim == 3:
    images = images[..., None]
  if images.dtype != np.uint8 or images.ndim != 4 or 0 in images.shape:
    raise DataError(
      'images must be a non-empty uint8 array [N, H, W, C] or [N, H, W] with '
      f'values 0-255; {name} has {images.dtype} {list(images.shape)}.'
    )
  if images.shape[-1] not in (1, 3):
    raise DataError(
      f'images must have 1 or 3 channels, last; {name} has '
      f'{list(images.shape)}.'
    )
  return images


def _checked_labels(labels: np.ndarray, count: int, name: str) -> np.ndarray:
  if labels.shape != (count,) or labels.dtype.kind not in 'iu':
    raise DataError(
      f'labels must be integers [{count}], one for each image; {name} has '
      f'{labels.dtype} {list(labels.shape)}.'
    )
  if labels.min() < 0:
    raise DataError(
      f'labels must not be negative; {name} has {labels.min()}. Pass no '
      'labels if there are none.'
    )
  if labels.max() >= _MOST_CLASSES:
    raise DataError(
      'labels must be the numbers of the classes, from 0 and below '
      f'{_MOST_CLASSES}; {name} has {labels.max()}. Number the classes 0, 1, ..'
    )
  return labels.astype(np.int32)
