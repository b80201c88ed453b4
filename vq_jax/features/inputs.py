"""The check of images that all networks share."""

import jax
import jax.numpy as jnp


def rgb(image: jax.Array, smallest: int = 1) -> jax.Array:
  """Repeats the channel of greyscale images three times.

  Args:
    image: float [B, H, W, 3] or [B, H, W, 1].
    smallest: the smallest allowed H and W.

  Returns:
    float [B, H, W, 3].

  Raises:
    ValueError: if the images have another shape, or are smaller.
  """
  if (
    image.ndim != 4
    or image.shape[-1] not in (1, 3)
    or min(image.shape[1:3]) < smallest
  ):
    raise ValueError(
      'images must be [B, H, W, 3] or [B, H, W, 1] of at least '
      f'{smallest} x {smallest} pixels; got {image.shape}.'
    )
  return jnp.repeat(image, 3 // image.shape[-1], axis=-1)
