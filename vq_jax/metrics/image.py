"""Distances between two batches of images, one number per image.

Images are [B, H, W, C], uint8 or float in [0, 1].
"""

import math

import jax
import jax.numpy as jnp

from vq_jax.utils import images
from vq_jax.utils import packages


def mse(a: images.Array, b: images.Array) -> jax.Array:
  """Returns the mean squared error of pixels in [0, 1].

  Args:
    a: images [B, H, W, C].
    b: images of the same shape.

  Returns:
    float32 [B].

  Raises:
    ValueError: if the shapes differ.

  Example:
    >>> import numpy as np
    >>> from vq_jax import metrics
    >>> black = np.zeros((1, 4, 4, 3), np.uint8)
    >>> metrics.mse(black, black + 255).tolist()
    [1.0]
  """
  a, b = _to_float_pair(a, b)
  return jnp.mean(jnp.square(a - b), axis=(1, 2, 3))


def psnr_from_mse(mse: jax.Array | float) -> jax.Array:
  """Returns the peak signal-to-noise ratio, -10 log10(mse), in dB.

  The PSNR of a data set is that of its mean error,
  `psnr_from_mse(mse(a, b).mean())`. A mean of decibels would be dominated by
  images with small errors.

  Args:
    mse: float [...], for pixels in [0, 1].

  Returns:
    float32 [...]; infinity where `mse` is 0.
  """
  return -10 / math.log(10) * jnp.log(jnp.asarray(mse, jnp.float32))


def psnr(a: images.Array, b: images.Array) -> jax.Array:
  """Returns the peak signal-to-noise ratio of each image in dB, float32 [B]."""
  return psnr_from_mse(mse(a, b))


def ssim(
  a: images.Array,
  b: images.Array,
  *,
  window: int = 11,
  sigma: float = 1.5,
  k1: float = 0.01,
  k2: float = 0.03,
) -> jax.Array:
  """Returns the structural similarity (Wang et al. 2004, section III-B).

  Means, variances and covariance are weighted by a Gaussian window that lies
  entirely inside the image; channels are averaged.

  Args:
    a: images [B, H, W, C].
    b: images of the same shape.
    window: side of the window in pixels.
    sigma: standard deviation of the window in pixels.
    k1: constant of the luminance term.
    k2: constant of the contrast term.

  Returns:
    float32 [B], at most 1.

  Raises:
    ValueError: if the shapes differ, or the images are smaller than the window.

  Example:
    >>> import numpy as np
    >>> from vq_jax import metrics
    >>> image = np.random.default_rng(0).random((2, 16, 16, 3))
    >>> metrics.ssim(image, image).tolist()
    [1.0, 1.0]
  """
  with packages.required_for('SSIM'):
    import dm_pix

  a, b = _to_float_pair(a, b)
  if min(a.shape[1:3]) < window:
    raise ValueError(
      f'SSIM needs images of at least {window} x {window} pixels; got '
      f'{a.shape}. Pass a smaller window.'
    )
  return dm_pix.ssim(a, b, filter_size=window, filter_sigma=sigma, k1=k1, k2=k2)


def compare_images(
  image: images.Array, reconstruction: images.Array
) -> dict[str, jax.Array]:
  """Returns the metrics of reconstructions, one number per image.

  Args:
    image: images [B, H, W, C].
    reconstruction: images of the same shape; floats are clipped to [0, 1].

  Returns:
    `mse`, `psnr_per_image` and `ssim`, float32 [B]. The window of SSIM is 11
    pixels, or the shorter side of smaller images.

  Raises:
    ValueError: if the shapes differ.
  """
  reconstruction = jnp.clip(images.to_float(reconstruction), 0, 1)
  error = mse(image, reconstruction)
  window = min(11, *image.shape[1:3])
  return {
    'mse': error,
    'psnr_per_image': psnr_from_mse(error),
    'ssim': ssim(image, reconstruction, window=window),
  }


def _to_float_pair(
  a: images.Array, b: images.Array
) -> tuple[jax.Array, jax.Array]:
  if a.ndim != 4 or a.shape != b.shape:
    raise ValueError(
      'both batches must be [B, H, W, C] and have one shape; got '
      f'{a.shape} and {b.shape}.'
    )
  return images.to_float(a), images.to_float(b)
