"""Cutouts: many views of one image, of the size that a guide takes.

All kinds have one interface, `cutouts(key, image, index, num, size)`. Cutout i
depends on the key and on i alone, so that the cutouts can be made in parts.
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from vq_jax.utils import fields


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cutouts:
  """The base class of the kinds of cutouts."""

  def __post_init__(self):
    fields.check(self)

  def __call__(
    self,
    key: jax.Array,
    image: jax.Array,
    index: jax.Array,
    num: int,
    size: int,
  ) -> jax.Array:
    """Makes some of the cutouts of an image.

    Args:
      key: JAX key of the image and the step.
      image: float [H, W, C].
      index: int32 [n], the numbers of these cutouts, below `num`.
      num: the number of all cutouts of the image.
      size: S, the side of a cutout.

    Returns:
      float [n, S, S, C].
    """
    raise NotImplementedError


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomCrops(Cutouts):
  """Squares of random size at random positions, resized to the guide's size.

  The side is u^power (most - least) + least with u ~ U(0, 1), where `most` is
  the shorter side of the image and `least` the guide's size, if that is smaller
  (https://arxiv.org/abs/2204.08583, 3.3).

  Attributes:
    power: Exponent of u; larger values give smaller squares.
    least: Side of the smallest square as a fraction of the shorter side of the
      image; 0 for the guide's size.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> crops = RandomCrops(least=0.5)
    >>> image, index = jnp.ones((20, 30, 3)), jnp.arange(4)
    >>> crops(jax.random.key(0), image, index, 4, 8).shape
    (4, 8, 8, 3)
  """

  power: fields.NonNegativeFloat = 1.0
  least: fields.Fraction = 0.0

  def __call__(
    self,
    key: jax.Array,
    image: jax.Array,
    index: jax.Array,
    num: int,
    size: int,
  ) -> jax.Array:
    """Makes some of the cutouts; see `Cutouts`."""
    height, width, _ = image.shape
    most = min(height, width)
    least = self.least * most if self.least else min(most, size)

    def crop(i):
      u, top, left = jax.random.uniform(jax.random.fold_in(key, i), (3,))
      side = u**self.power * (most - least) + least
      return resize_box(
        image, top * (height - side), left * (width - side), side, size
      )

    return jax.vmap(crop)(index)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PooledImages(Cutouts):
  """The whole image, pooled to the guide's size, in each of the cutouts.

  Each pixel is the mean of average and maximum over its part of the image; an
  image that is not a square is stretched. Augmentations make the cutouts
  differ. This is the default of nerdyrodent's VQGAN-CLIP.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> image, index = jnp.ones((20, 30, 3)), jnp.arange(4)
    >>> PooledImages()(jax.random.key(0), image, index, 4, 8).shape
    (4, 8, 8, 3)
  """

  def __call__(
    self,
    key: jax.Array,
    image: jax.Array,
    index: jax.Array,
    num: int,
    size: int,
  ) -> jax.Array:
    """Makes some of the cutouts; see `Cutouts`."""
    pooled = (
      adaptive_pool(image, size, 'mean') + adaptive_pool(image, size, 'max')
    ) / 2
    return jnp.broadcast_to(pooled, (len(index), *pooled.shape))


@dataclasses.dataclass(frozen=True, kw_only=True)
class OverviewAndCrops(Cutouts):
  """The whole image in the first cutouts, and random squares in the others.

  The whole image is scaled to fit and padded with grey. It keeps the image one
  scene, while the squares give it details.

  Attributes:
    overviews: The fraction of cutouts that show the whole image, at least one.
    grey: Whether every fourth overview is without colours, which leads to
      shapes that are recognised without them.
    crops: The other cutouts.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> image, index = jnp.ones((20, 30, 3)), jnp.arange(4)
    >>> OverviewAndCrops()(jax.random.key(0), image, index, 4, 8).shape
    (4, 8, 8, 3)
  """

  overviews: fields.Fraction = 0.25
  grey: bool = True
  crops: RandomCrops = RandomCrops()

  def __call__(
    self,
    key: jax.Array,
    image: jax.Array,
    index: jax.Array,
    num: int,
    size: int,
  ) -> jax.Array:
    """Makes some of the cutouts; see `Cutouts`."""
    height, width, _ = image.shape
    side = max(height, width)
    # Padding shifts the box; pixels beyond the image are grey.
    whole = 0.5 + resize_box(
      image - 0.5, (height - side) / 2, (width - side) / 2, side, size
    )
    grey = jnp.broadcast_to(whole.mean(axis=-1, keepdims=True), whole.shape)
    count = max(1, round(self.overviews * num))
    crops = self.crops(key, image, index, num, size)
    index = index.reshape(-1, 1, 1, 1)
    without_colour = (index % 4 == 3) & self.grey
    overview = jnp.where(without_colour, grey[None], whole[None])
    return jnp.where(index < count, overview, crops)


KINDS = {
  'crops': RandomCrops(),
  'pooled': PooledImages(),
  'overview': OverviewAndCrops(),
}


def by_name(name: str) -> Cutouts:
  """Returns the cutouts of a name, with their default options.

  Raises:
    ValueError: if the name is unknown.
  """
  if name not in KINDS:
    raise ValueError(
      f'cutouts must be one of {", ".join(KINDS)}; got {name!r}.'
    )
  return KINDS[name]


def resize_box(
  image: jax.Array,
  top: jax.Array | float,
  left: jax.Array | float,
  side: jax.Array | float,
  size: int,
) -> jax.Array:
  """Resizes a square box of an image, which may move as JAX traces it.

  The kernel is bilinear and, for a box larger than the result, widened against
  aliasing. Two small matrices do the work, so the gradient is cheap. Pixels
  beyond the image count as 0.

  Args:
    image: float [H, W, C].
    top: the first row of the box, in pixels.
    left: the first column of the box, in pixels.
    side: the side of the box, in pixels.
    size: S.

  Returns:
    float [S, S, C].
  """
  rows = _resize_matrix(image.shape[0], top, side, size)
  columns = _resize_matrix(image.shape[1], left, side, size)
  return jnp.einsum('sh,hwc,tw->stc', rows, image, columns)


def _resize_matrix(
  length: int, start: jax.Array | float, side: jax.Array | float, size: int
) -> jax.Array:
  """Returns the weights [size, length] of the pixels along one side."""
  scale = side / size  # pixels of the image per pixel of the result
  width = jnp.maximum(scale, 1.0)
  centre = start + (jnp.arange(size) + 0.5) * scale
  distance = centre[:, None] - (jnp.arange(length)[None] + 0.5)
  weights = jnp.maximum(1 - jnp.abs(distance) / width, 0)
  # The weights of pixels beyond the image count, too, as those of zeros; near
  # an edge of a box inside the image the others are scaled up instead.
  inside = (centre > 0) & (centre < length)
  total = weights.sum(axis=1)
  total = jnp.where(inside, jnp.maximum(total, 1e-6), width)
  return weights / total[:, None]


def adaptive_pool(image: jax.Array, size: int, kind: str) -> jax.Array:
  """Pools an image to a square, as PyTorch's adaptive pooling does.

  Args:
    image: float [H, W, C].
    size: S. Row i of the result is pooled over the rows from floor(i H / S) to
      ceil((i + 1) H / S) of the image; the same holds for columns.
    kind: 'mean' or 'max'.

  Returns:
    float [S, S, C].
  """
  for axis in (0, 1):
    index, inside = _pooling_windows(image.shape[axis], size)
    windows = jnp.moveaxis(jnp.take(image, index, axis=axis), axis, 0)
    windows = jnp.moveaxis(windows, axis + 1, 1)  # [S, window, ...]
    mask = jnp.asarray(inside)[..., None, None]
    if kind == 'max':
      pooled = jnp.where(mask, windows, -jnp.inf).max(axis=1)
    else:
      count = jnp.asarray(inside.sum(axis=1))[:, None, None]
      pooled = jnp.where(mask, windows, 0).sum(axis=1) / count
    image = jnp.moveaxis(pooled, 0, axis)
  return image


@functools.cache
def _pooling_windows(length: int, size: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns the positions [S, window] that are pooled, and which are valid."""
  start = np.arange(size) * length // size
  stop = -(-(np.arange(size) + 1) * length // size)
  window = math.ceil(length / size) + 1
  index = start[:, None] + np.arange(min(window, length))
  return np.minimum(index, length - 1), index < stop[:, None]
