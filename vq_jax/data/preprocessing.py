"""Preprocessing operations: crops, flips and changes of size.

Each operation maps an image uint8 [H, W, C] and a random generator, its own for
each example, to an image uint8 [H, W, C]. Operations are frozen dataclasses
that can be printed, compared and sent to processes. A device converts to float.
"""

import dataclasses
from collections.abc import Callable
from collections.abc import Sequence
from typing import Annotated
from typing import ClassVar
from typing import Literal

import numpy as np

from vq_jax.data import pixels
from vq_jax.data.errors import DataError
from vq_jax.utils import fields

# Any callable; one that uses the generator needs an attribute `random = True`.
Preprocess = Callable[[np.ndarray, np.random.Generator], np.ndarray]

_Side = Annotated[int, fields.Range(least=1, most=2**15)]  # pixels


class _Operation:
  """An operation that checks its fields; it is not random by default."""

  random: ClassVar[bool] = False

  def __post_init__(self):
    fields.check(self, error=DataError)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resize(_Operation):
  """Resizes the shorter side to `size` and keeps the aspect ratio.

  Example:
    >>> import numpy as np
    >>> Resize(size=4)(np.zeros((8, 16, 3), np.uint8)).shape
    (4, 8, 3)

  Attributes:
    size: number of pixels of the shorter side.
    filter: antialiasing filter: 'box', 'bilinear', 'hamming', 'bicubic' or
      'lanczos'.
  """

  size: _Side
  filter: Literal['box', 'bilinear', 'hamming', 'bicubic', 'lanczos'] = (
    'bicubic'
  )

  def __call__(
    self, image: np.ndarray, rng: np.random.Generator | None = None
  ) -> np.ndarray:
    """Resizes an image; `rng` is not used."""
    del rng
    h, w, _ = image.shape
    scale = self.size / min(h, w)
    target = tuple(max(self.size, round(side * scale)) for side in (h, w))
    return pixels.resize(image, target, self.filter)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomResize(_Operation):
  """Resizes the shorter side to a random number of pixels; see `Resize`.

  The number is uniformly distributed in [smallest, largest].

  Example:
    >>> import numpy as np
    >>> resize = RandomResize(smallest=4, largest=4)
    >>> resize(np.zeros((8, 8, 3), np.uint8), np.random.default_rng(0)).shape
    (4, 4, 3)

  Attributes:
    smallest: smallest number of pixels of the shorter side.
    largest: largest number of pixels of the shorter side.
    filter: antialiasing filter; see `Resize`.
  """

  random: ClassVar[bool] = True
  smallest: int
  largest: int
  filter: str = 'bicubic'

  def __post_init__(self):
    """Checks the fields."""
    Resize(size=self.smallest, filter=self.filter)
    if self.largest < self.smallest:
      raise DataError(f'largest must not be below smallest; got {self}.')

  def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Resizes an image."""
    size = int(rng.integers(self.smallest, self.largest, endpoint=True))
    resize = Resize(size=size, filter=self.filter)  # type: ignore[arg-type]
    return resize(image)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CenterCrop(_Operation):
  """Crops the central square of `size` x `size` pixels.

  Example:
    >>> import numpy as np
    >>> CenterCrop(size=4)(np.zeros((8, 6, 3), np.uint8)).shape
    (4, 4, 3)

  Attributes:
    size: number of pixels of a side.
  """

  size: _Side

  def __call__(
    self, image: np.ndarray, rng: np.random.Generator | None = None
  ) -> np.ndarray:
    """Crops an image; `rng` is not used."""
    del rng
    pixels.check_size(self, image)
    top, left = ((side - self.size) // 2 for side in image.shape[:2])
    return image[top : top + self.size, left : left + self.size]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomCrop(_Operation):
  """Crops a random square of `size` x `size` pixels.

  Example:
    >>> import numpy as np
    >>> crop = RandomCrop(size=8, padding=2)
    >>> crop(np.zeros((8, 8, 3), np.uint8), np.random.default_rng(0)).shape
    (8, 8, 3)

  Attributes:
    size: number of pixels of a side.
    padding: number of black pixels that are padded to each side before.
  """

  random: ClassVar[bool] = True
  size: _Side
  padding: Annotated[int, fields.Range(least=0, most=2**15)] = 0

  def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pads and crops an image."""
    if self.padding:
      image = pixels.pad(image, self.padding)
    pixels.check_size(self, image)
    top, left = (
      int(rng.integers(side - self.size + 1)) for side in image.shape[:2]
    )
    return image[top : top + self.size, left : left + self.size]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomResizedCrop(_Operation):
  """Crops a rectangle of random area and aspect ratio; resizes it to a square.

  Example:
    >>> import numpy as np
    >>> crop = RandomResizedCrop(size=4)
    >>> crop(np.zeros((8, 8, 3), np.uint8), np.random.default_rng(0)).shape
    (4, 4, 3)

  Attributes:
    size: number of pixels of a side of the square.
    scale: bounds of the fraction of the image's area that is cropped.
    ratio: bounds of width / height, whose logarithm is uniformly distributed.
  """

  random: ClassVar[bool] = True
  size: _Side
  scale: tuple[float, float] = (0.8, 1.0)
  ratio: tuple[float, float] = (3 / 4, 4 / 3)

  def __post_init__(self):
    """Checks the fields."""
    super().__post_init__()
    if not 0 < self.scale[0] <= self.scale[1] <= 1:
      raise DataError(
        f'scale must be two shares of the area in (0, 1]; got {self.scale}.'
      )
    if not 0 < self.ratio[0] <= self.ratio[1]:
      raise DataError(
        f'ratio must be two positive bounds of width / height; got '
        f'{self.ratio}.'
      )

  def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Crops and resizes an image."""
    h, w, _ = image.shape
    area = rng.uniform(*self.scale) * h * w
    ratio = np.exp(rng.uniform(*np.log(self.ratio)))
    # A rectangle that does not fit is clipped instead of sampled again, so that
    # every example takes the same number of random numbers.
    height = min(max(round(np.sqrt(area / ratio)), 1), h)
    width = min(max(round(np.sqrt(area * ratio)), 1), w)
    top = int(rng.integers(h - height + 1))
    left = int(rng.integers(w - width + 1))
    crop = image[top : top + height, left : left + width]
    return pixels.resize(crop, (self.size, self.size), 'bicubic')


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomFlip(_Operation):
  """Flips an image horizontally with probability 1/2.

  Example:
    >>> import numpy as np
    >>> image = np.zeros((8, 6, 3), np.uint8)
    >>> RandomFlip()(image, np.random.default_rng(0)).shape
    (8, 6, 3)
  """

  random: ClassVar[bool] = True

  def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Flips an image or returns it unchanged."""
    return image[:, ::-1] if rng.random() < 0.5 else image


@dataclasses.dataclass(frozen=True, kw_only=True)
class Channels(_Operation):
  """Converts grey images to RGB, or RGB images to grey by luma (ITU-R 601).

  Example:
    >>> import numpy as np
    >>> Channels(count=3)(np.zeros((8, 8, 1), np.uint8)).shape
    (8, 8, 3)

  Attributes:
    count: number of channels, 1 or 3.
  """

  count: Literal[1, 3]

  def __call__(
    self, image: np.ndarray, rng: np.random.Generator | None = None
  ) -> np.ndarray:
    """Converts an image; `rng` is not used."""
    del rng
    if image.shape[-1] == self.count:
      return image
    if self.count == 3:
      return np.repeat(image, 3, axis=-1)
    luma = image @ np.array([0.299, 0.587, 0.114])
    return np.round(luma).astype(np.uint8)[..., None]


def apply(
  steps: Sequence[Preprocess], image: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
  """Applies operations one after the other and checks the result.

  Raises:
    DataError: if the result is not uint8 [H, W, C].
  """
  for step in steps:
    image = step(image, rng)
  if image.dtype != np.uint8 or image.ndim != 3:
    raise DataError(
      'preprocessing must give uint8 [H, W, C]; the last of '
      f'{list(steps)} gave {image.dtype} {list(image.shape)}.'
    )
  return image


def is_random(step: Preprocess) -> bool:
  """Returns whether an operation uses the random generator."""
  return getattr(step, 'random', False)


def refuse_random(steps: Sequence[Preprocess]) -> None:
  """Raises DataError if an operation is random, for use in evaluation."""
  random = [step for step in steps if is_random(step)]
  if random:
    raise DataError(
      f'evaluation must not be random; take {random} out of its preprocessing, '
      'e.g. put CenterCrop in the place of a random crop.'
    )
