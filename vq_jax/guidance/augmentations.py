"""Random changes of cutouts that keep what they show.

A guide that sees one view of an image is fooled by patterns that fit that view
alone; one that sees many, a little changed, is not (arXiv:2204.08583, 3.3). The
defaults are those of the public notebooks, which use Kornia.
"""

import dataclasses
from collections.abc import Sequence
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from vq_jax.guidance import warp as warp_lib
from vq_jax.utils import fields
from vq_jax.utils import packages

_Degrees = Annotated[float, fields.Range(least=0, most=180)]
_HalfTurn = Annotated[float, fields.Range(least=0, most=0.5)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augmentation:
  """The base class of the random changes of one image.

  Attributes:
    probability: The fraction of images that are changed.
  """

  probability: fields.Fraction = 0.7

  def __post_init__(self):
    fields.check(self)

  def change(self, key: jax.Array, image: jax.Array) -> jax.Array:
    """Changes an image [S, S, 3]; a `Geometric` has a matrix instead."""
    raise NotImplementedError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pixelwise(Augmentation):
  """The base class of changes that move no pixel."""

  def change(self, key: jax.Array, image: jax.Array) -> jax.Array:
    """Changes an image float [S, S, 3], whatever the probability."""
    raise NotImplementedError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Geometric(Augmentation):
  """The base class of changes that move pixels by a homography.

  Those that follow each other are composed, so that an image is sampled once.
  """

  def matrix(self, key: jax.Array) -> jax.Array:
    """Returns the matrix [3, 3] from the old to the new positions.

    Positions are (x, y, 1) with x and y in [-1, 1] across the image, x to the
    right and y down.
    """
    raise NotImplementedError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flip(Geometric):
  """Mirrors images from left to right."""

  probability: fields.Fraction = 0.5

  def matrix(self, key: jax.Array) -> jax.Array:
    """Returns the matrix [3, 3]; see `Geometric`."""
    return jnp.diag(jnp.array([-1.0, 1.0, 1.0]))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Affine(Geometric):
  """Rotates and shifts images.

  Attributes:
    degrees: The largest angle to either side.
    translate: The largest shift to either side, as a fraction of the side.
  """

  degrees: _Degrees = 15.0
  translate: fields.Fraction = 0.1

  def matrix(self, key: jax.Array) -> jax.Array:
    """Returns the matrix [3, 3]; see `Geometric`."""
    angle, x, y = jax.random.uniform(key, (3,), minval=-1, maxval=1)
    angle = jnp.deg2rad(self.degrees) * angle
    x, y = 2 * self.translate * x, 2 * self.translate * y
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return jnp.array([[cos, -sin, x], [sin, cos, y], [0.0, 0.0, 1.0]])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Perspective(Geometric):
  """Moves each corner inwards at random, as if the image were seen from a side.

  Attributes:
    distortion: The largest move of a corner in either direction, as a fraction
      of half the side.
  """

  distortion: fields.Fraction = 0.7

  def matrix(self, key: jax.Array) -> jax.Array:
    """Returns the matrix [3, 3]; see `Geometric`."""
    moves = self.distortion * jax.random.uniform(key, (4, 2))
    return warp_lib.square_to_quadrilateral(jnp.asarray(_CORNERS) * (1 - moves))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ColorJitter(Pixelwise):
  """Changes hue, saturation, brightness and contrast.

  Attributes:
    hue: The largest change of hue to either side, in turns.
    saturation: The largest relative change of the saturation.
    brightness: The largest change of the brightness.
    contrast: The largest relative change of the contrast.
  """

  hue: _HalfTurn = 0.1
  saturation: fields.Fraction = 0.1
  brightness: fields.Fraction = 0.0
  contrast: fields.Fraction = 0.0

  def change(self, key: jax.Array, image: jax.Array) -> jax.Array:
    """Changes an image float [S, S, 3]; see `Pixelwise`."""
    with packages.required_for('ColorJitter'):
      import dm_pix as pix

    by = jax.random.uniform(key, (4,), minval=-1, maxval=1)
    image = rotate_hue(image, self.hue * by[0])
    grey = pix.rgb_to_grayscale(image, keep_dims=True)
    image = grey + (1 + self.saturation * by[1]) * (image - grey)
    image = pix.adjust_brightness(image, self.brightness * by[2])
    return pix.adjust_contrast(image, 1 + self.contrast * by[3])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Noise(Pixelwise):
  """Adds Gaussian noise of a random strength.

  Attributes:
    scale: The largest standard deviation.
  """

  probability: fields.Fraction = 1.0
  scale: fields.NonNegativeFloat = 0.1

  def change(self, key: jax.Array, image: jax.Array) -> jax.Array:
    """Changes an image float [S, S, 3]; see `Pixelwise`."""
    strength, noise = jax.random.split(key)
    scale = self.scale * jax.random.uniform(strength)
    return image + scale * jax.random.normal(noise, image.shape, image.dtype)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Erase(Pixelwise):
  """Blackens a rectangle.

  Attributes:
    least: The smallest fraction of the image's area.
    most: The largest fraction of the image's area.
    ratio: The largest ratio of one side to the other.
  """

  least: fields.Fraction = 0.1
  most: fields.Fraction = 0.4
  ratio: Annotated[float, fields.Range(least=1)] = 10 / 3

  def change(self, key: jax.Array, image: jax.Array) -> jax.Array:
    """Changes an image float [S, S, 3]; see `Pixelwise`."""
    area, ratio, top, left = jax.random.uniform(key, (4,))
    side = jnp.sqrt(area * (self.most - self.least) + self.least)
    stretch = jnp.exp((ratio - 0.5) * jnp.log(self.ratio))
    height = jnp.minimum(side * stretch, 1)
    width = jnp.minimum(side / stretch, 1)

    def inside(length, start, extent):
      position = (jnp.arange(length) + 0.5) / length
      start = start * (1 - extent)
      return (position >= start) & (position < start + extent)

    rows = inside(image.shape[0], top, height)[:, None]
    columns = inside(image.shape[1], left, width)[None]
    return jnp.where((rows & columns)[..., None], 0, image)


# The names for command lines; the order is that of their application.
KINDS = {
  'flip': Flip(),
  'affine': Affine(),
  'perspective': Perspective(),
  'color': ColorJitter(),
  'erase': Erase(),
  'noise': Noise(),
}

_TO_YIQ = np.array(
  [
    [0.299, 0.587, 0.114],
    [0.5959, -0.2746, -0.3213],
    [0.2115, -0.5227, 0.3112],
  ],
  np.float32,
)
_FROM_YIQ = np.linalg.inv(_TO_YIQ)

_CORNERS = np.array(
  [[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]], np.float32
)


def by_names(names: str) -> tuple[Augmentation, ...]:
  """Returns augmentations by their names, with their default options.

  Args:
    names: names that are separated by commas, such as 'flip,affine'; '' or
      'none' for no augmentation.

  Raises:
    ValueError: if a name is unknown.
  """
  found = [name.strip() for name in names.split(',') if name.strip()]
  if found == ['none']:
    return ()
  for name in found:
    if name not in KINDS:
      raise ValueError(
        f'augmentations are named {", ".join(KINDS)} or none; got {name!r}.'
      )
  return tuple(KINDS[name] for name in found)


def augment(
  augmentations: Sequence[Augmentation], key: jax.Array, image: jax.Array
) -> jax.Array:
  """Changes an image at random.

  Args:
    augmentations: the changes, in the order of their application.
    key: JAX key.
    image: float [S, S, 3] in [0, 1].

  Returns:
    float [S, S, 3], not clipped.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> both = by_names('flip,noise')
    >>> augment(both, jax.random.key(0), jnp.ones((8, 8, 3))).shape
    (8, 8, 3)
  """
  moved = jnp.eye(3)
  pending = False
  for i, augmentation in enumerate(augmentations):
    choice, own = jax.random.split(jax.random.fold_in(key, i))
    chosen = jax.random.bernoulli(choice, augmentation.probability)
    if isinstance(augmentation, Geometric):
      matrix = augmentation.matrix(own)
      moved = jnp.where(chosen, matrix, jnp.eye(3)) @ moved
      pending = True
      continue
    if pending:
      image, moved, pending = warp_lib.warp(image, moved), jnp.eye(3), False
    image = jnp.where(chosen, augmentation.change(own, image), image)
  return warp_lib.warp(image, moved) if pending else image


def rotate_hue(image: jax.Array, turns: jax.Array | float) -> jax.Array:
  """Rotates the hue of an image around the grey axis, in YIQ space.

  Unlike a rotation in HSV space it is linear, so that its gradient is the same
  for all colours and finite at grey.

  Args:
    image: float [..., 3].
    turns: the angle; 1 is a full turn.
  """
  cos, sin = jnp.cos(2 * jnp.pi * turns), jnp.sin(2 * jnp.pi * turns)
  rotation = jnp.array([[1.0, 0, 0], [0, cos, -sin], [0, sin, cos]])
  matrix = jnp.asarray(_FROM_YIQ) @ rotation @ jnp.asarray(_TO_YIQ)
  return image @ matrix.T.astype(image.dtype)
