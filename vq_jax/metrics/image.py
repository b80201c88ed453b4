"""How far an image is from another: one figure per image.

Images are [B, H, W, C], uint8 or float in [0, 1].
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from vq_jax.utils import images


def mse(a: images.Array, b: images.Array) -> jax.Array:
  """Mean squared difference of pixels in [0, 1]: float32 [B].

  Raises:
    ValueError: if the images differ in shape.
  """
  a, b = _pair(a, b)
  return jnp.mean(jnp.square(a - b), axis=(1, 2, 3))


def psnr_from_mse(mse: jax.Array | float) -> jax.Array:
  """Peak signal-to-noise ratio, -10 log10(mse), in dB; infinite at 0.

  The figure of a data set is that of its *mean* error,
  `psnr_from_mse(mse(a, b).mean())`: a mean of decibels would let the easy
  images count most.

  Args:
    mse: float [...], for pixels in [0, 1].
  """
  return -10 / math.log(10) * jnp.log(jnp.asarray(mse, jnp.float32))


def psnr(a: images.Array, b: images.Array) -> jax.Array:
  """Peak signal-to-noise ratio of each image in dB: float32 [B]."""
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
  """Structural similarity (Wang et al. 2004, section III-B).

  Means, variances and the covariance are taken under a Gaussian window that
  lies wholly inside the image; each channel counts alike.

  Args:
    a: images.
    b: images of the same shape.
    window: side of the window in pixels.
    sigma: its standard deviation in pixels.
    k1: constant of the luminance term.
    k2: constant of the contrast term.

  Returns:
    float32 [B], at most 1.

  Raises:
    ValueError: if the images differ in shape or are smaller than the window.
  """
  a, b = _pair(a, b)
  if min(a.shape[1:3]) < window:
    raise ValueError(
      f'SSIM needs images of at least {window} x {window} pixels; got '
      f'{a.shape}. Pass a smaller window.'
    )
  taps = np.exp(
    -np.square(np.arange(window) - (window - 1) / 2) / (2 * sigma**2)
  )
  taps = [float(tap) for tap in taps / taps.sum()]
  moments = jnp.stack([a, b, a * a, b * b, a * b])
  mean_a, mean_b, aa, bb, ab = _filter(_filter(moments, taps, 2), taps, 3)
  c1, c2 = k1**2, k2**2
  var_a, var_b = aa - mean_a**2, bb - mean_b**2
  covariance = ab - mean_a * mean_b
  luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
  structure = (2 * covariance + c2) / (var_a + var_b + c2)
  return jnp.mean(luminance * structure, axis=(1, 2, 3))


def _filter(x: jax.Array, taps: list[float], axis: int) -> jax.Array:
  """Correlates with `taps` along an axis, where they fit entirely."""
  size = x.shape[axis] - len(taps) + 1
  shifted = (
    tap * jax.lax.slice_in_dim(x, i, i + size, axis=axis)
    for i, tap in enumerate(taps)
  )
  return sum(shifted)


def _pair(a: images.Array, b: images.Array) -> tuple[jax.Array, jax.Array]:
  if a.ndim != 4 or a.shape != b.shape:
    raise ValueError(
      f'two batches [B, H, W, C] of one shape are compared; got {a.shape} and '
      f'{b.shape}.'
    )
  return images.to_float(a), images.to_float(b)
