"""What is done to one image before it joins a batch.

Each step maps uint8 [H, W, C] to uint8 [H, W, C], with a generator of its own
for every example. Steps are frozen dataclasses: they print, compare and travel
to worker processes. The conversion to float happens later, on the device.
"""

import dataclasses
from collections.abc import Callable
from collections.abc import Sequence
from typing import Annotated
from typing import ClassVar
from typing import Literal

import numpy as np

from vq_jax.data.errors import DataError
from vq_jax.utils import fields

# Steps may be any callables; one that draws from the generator says
# `random = True`.
Preprocess = Callable[[np.ndarray, np.random.Generator], np.ndarray]

# Pixels of a side; more than Pillow makes of an image.
_Side = Annotated[int, fields.Range(least=1, most=2**15)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resize:
  """Resizes the shorter side to `size`, keeping the proportions.

  Attributes:
    size: pixels of the shorter side.
    filter: 'box', 'bilinear', 'hamming', 'bicubic' or 'lanczos', all of them
      antialiased.
  """

  random: ClassVar[bool] = False
  size: _Side
  filter: Literal['box', 'bilinear', 'hamming', 'bicubic', 'lanczos'] = (
    'bicubic'
  )

  def __post_init__(self):
    """Checks the fields."""
    fields.check(self, error=DataError)

  def __call__(
    self, image: np.ndarray, rng: np.random.Generator | None = None
  ) -> np.ndarray:
    """Resizes; `rng` is not used."""
    del rng
    h, w, _ = image.shape
    scale = self.size / min(h, w)
    target = tuple(max(self.size, round(side * scale)) for side in (h, w))
    return _resized(image, target, self.filter)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomResize:
  """Resizes the shorter side to a random number of pixels; see `Resize`.

  Attributes:
    smallest: pixels of the shorter side, at least.
    largest: at most; all numbers between are equally likely.
    filter: see `Resize`.
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
    """Draws the size and resizes."""
    size = int(rng.integers(self.smallest, self.largest, endpoint=True))
    return Resize(size=size, filter=self.filter)(image)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CenterCrop:
  """Cuts a square of `size` pixels from the middle."""

  random: ClassVar[bool] = False
  size: _Side

  def __post_init__(self):
    """Checks the fields."""
    fields.check(self, error=DataError)

  def __call__(
    self, image: np.ndarray, rng: np.random.Generator | None = None
  ) -> np.ndarray:
    """Crops; `rng` is not used."""
    del rng
    _require_room(self, image)
    top, left = ((side - self.size) // 2 for side in image.shape[:2])
    return image[top : top + self.size, left : left + self.size]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomCrop:
  """Cuts a square of `size` pixels from anywhere.

  Attributes:
    size: of the square.
    padding: black pixels put around the image first.
  """

  random: ClassVar[bool] = True
  size: _Side
  padding: Annotated[int, fields.Range(least=0, most=2**15)] = 0

  def __post_init__(self):
    """Checks the fields."""
    fields.check(self, error=DataError)

  def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pads and crops."""
    if self.padding:
      image = _padded(image, self.padding)
    _require_room(self, image)
    top, left = (
      int(rng.integers(side - self.size + 1)) for side in image.shape[:2]
    )
    return image[top : top + self.size, left : left + self.size]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomResizedCrop:
  """Cuts a rectangle of random area and proportions, resized to a square.

  Attributes:
    size: of the square that comes out.
    scale: bounds of the share of the image's area that is kept.
    ratio: bounds of width over height, drawn evenly in the logarithm.
  """

  random: ClassVar[bool] = True
  size: _Side
  scale: tuple[float, float] = (0.8, 1.0)
  ratio: tuple[float, float] = (3 / 4, 4 / 3)

  def __post_init__(self):
    """Checks the fields."""
    fields.check(self, error=DataError)
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
    """Crops and resizes."""
    h, w, _ = image.shape
    area = rng.uniform(*self.scale) * h * w
    ratio = np.exp(rng.uniform(*np.log(self.ratio)))
    # A rectangle that does not fit is cut off, not drawn again: one draw for
    # each example, whatever its proportions.
    height = int(np.clip(round(np.sqrt(area / ratio)), 1, h))
    width = int(np.clip(round(np.sqrt(area * ratio)), 1, w))
    top = int(rng.integers(h - height + 1))
    left = int(rng.integers(w - width + 1))
    crop = image[top : top + height, left : left + width]
    return _resized(crop, (self.size, self.size), 'bicubic')


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomFlip:
  """Mirrors every second image left to right, at random."""

  random: ClassVar[bool] = True

  def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mirrors or not."""
    return image[:, ::-1] if rng.random() < 0.5 else image


@dataclasses.dataclass(frozen=True, kw_only=True)
class Channels:
  """Grey to RGB by repetition, RGB to grey by luma (ITU-R 601).

  Attributes:
    count: 1 or 3 channels.
  """

  random: ClassVar[bool] = False
  count: Literal[1, 3]

  def __post_init__(self):
    """Checks the fields."""
    fields.check(self, error=DataError)

  def __call__(
    self, image: np.ndarray, rng: np.random.Generator | None = None
  ) -> np.ndarray:
    """Converts; `rng` is not used."""
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
  """Runs the steps one after the other and checks what comes out."""
  for step in steps:
    image = step(image, rng)
  if image.dtype != np.uint8 or image.ndim != 3:
    raise DataError(
      'preprocessing must give uint8 [H, W, C]; the last of '
      f'{list(steps)} gave {image.dtype} {list(image.shape)}.'
    )
  return image


def is_random(step: Preprocess) -> bool:
  """Whether a step draws from the generator."""
  return getattr(step, 'random', False)


def refuse_random(steps: Sequence[Preprocess]) -> None:
  """Fails if a step is random: evaluation must see the same each time."""
  random = [step for step in steps if is_random(step)]
  if random:
    raise DataError(
      f'evaluation must not be random; take {random} out of its preprocessing, '
      'e.g. put CenterCrop in the place of a random crop.'
    )


def stack(images: Sequence[np.ndarray], name: str) -> np.ndarray:
  """Joins images [H, W, C] of one shape to [B, H, W, C].

  Raises:
    DataError: if the shapes differ.
  """
  shapes = sorted({image.shape for image in images})
  if len(shapes) > 1:
    sizes = ', '.join('x'.join(map(str, shape)) for shape in shapes[:4])
    raise DataError(
      f'all images of a batch must have one shape; those of {name} differ in '
      f'size: {sizes}. Add Resize(size=..) and CenterCrop(size=..), or '
      'Channels(count=..), to the preprocessing.'
    )
  return np.stack(images)


def _resized(
  image: np.ndarray, size: tuple[int, int], resample: str
) -> np.ndarray:
  from PIL import Image

  if image.shape[:2] == size:
    return image
  method = Image.Resampling[resample.upper()]
  grey = image.shape[-1] == 1
  picture = Image.fromarray(
    np.ascontiguousarray(image[..., 0] if grey else image)
  )
  pixels = np.array(picture.resize(size[::-1], method))
  return pixels[..., None] if grey else pixels


def _padded(image: np.ndarray, padding: int) -> np.ndarray:
  h, w, c = image.shape
  canvas = np.zeros((h + 2 * padding, w + 2 * padding, c), np.uint8)
  canvas[padding : padding + h, padding : padding + w] = image
  return canvas


def _require_room(step, image: np.ndarray) -> None:
  h, w, _ = image.shape
  if min(h, w) < step.size:
    raise DataError(
      f'{type(step).__name__}(size={step.size}) needs an image of at least '
      f'{step.size}x{step.size}; got {h}x{w}. Put Resize(size={step.size}) '
      'before it.'
    )
