"""Camera motion: an image is zoomed, rotated and shifted between steps."""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp

from vq_jax.guidance import warp
from vq_jax.utils import fields

_Zoom = Annotated[float, fields.Range(least=0.1, most=10)]
_Degrees = Annotated[float, fields.Range(least=-180, most=180)]
_Shift = Annotated[float, fields.Range(least=-1, most=1)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Motion:
  """A move of the camera; many small ones, with steps between, make a film.

  Attributes:
    zoom: The factor by which the image is enlarged around its centre.
    rotate: The angle in degrees by which it is rotated clockwise.
    shift_x: The fraction of the width by which it is shifted to the right.
    shift_y: The fraction of the height by which it is shifted down.
    every: The number of steps from one move to the next.

  Example:
    >>> import jax.numpy as jnp
    >>> Motion(zoom=1.1)(jnp.ones((2, 8, 8, 3))).shape
    (2, 8, 8, 3)
  """

  zoom: _Zoom = 1.0
  rotate: _Degrees = 0.0
  shift_x: _Shift = 0.0
  shift_y: _Shift = 0.0
  every: fields.PositiveInt = 10

  def __post_init__(self):
    fields.check(self)

  def __bool__(self) -> bool:
    """Returns whether the image moves at all."""
    return dataclasses.replace(self, every=10) != Motion()

  def __call__(self, image: jax.Array) -> jax.Array:
    """Moves images float [B, H, W, C]; see `warp.warp`."""
    height, width = image.shape[1:3]
    angle = jnp.deg2rad(self.rotate)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    # Rotation keeps angles in pixels, while positions are fractions of a side.
    ratio = height / width
    matrix = jnp.array(
      [
        [self.zoom * cos, -self.zoom * sin * ratio, 2 * self.shift_x],
        [self.zoom * sin / ratio, self.zoom * cos, 2 * self.shift_y],
        [0.0, 0.0, 1.0],
      ]
    )
    return jax.vmap(lambda x: warp.warp(x, matrix))(image)
