"""The latents of an AE or VAE: reading, decoding, mixing and modelling them.

    z = latent_space.encode(model, images)          # [B, D] or [B, h, w, D]
    between = latent_space.interpolate(model, a, b, steps=8)
    mixture = latent_space.fit_mixture(z, components=50)
    new = latent_space.decode(model, mixture.sample(0, 16))

A plain autoencoder says nothing of how its latents are distributed, and those
that a VAE gives to images (its aggregate posterior) are not quite N(0, I); a
mixture of normal distributions fitted to them can be drawn from.

`model` is a `vq_jax.Model`, or whatever has its `autoencoder`, `variables` and
`config`.
"""

import dataclasses
import functools
import warnings
from typing import Annotated
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vq_jax import autoencoders
from vq_jax import checks
from vq_jax.utils import fields

Array = jax.Array | np.ndarray


def _module(model: Any):
  module = model.autoencoder
  if not isinstance(module, autoencoders.AE | autoencoders.VAE):
    raise ValueError(
      'latents without codes belong to an AE or a VAE; this run holds a '
      f'{type(module).__name__}. Use encode and decode of the model.'
    )
  return module


def latent_shape(model: Any) -> tuple[int, ...]:
  """Returns the shape of a latent of the images the run was trained on."""
  module = _module(model)
  if module.grid is not None:
    return (module.latent_dim,)
  height, width, _ = model.config['data']['image_shape']
  grid = (height // module.stride, width // module.stride)
  return (*grid, module.latent_dim)


@fields.checked
def encode(
  model: Any, images: Array, *, batch_size: fields.PositiveInt = 200
) -> np.ndarray:
  """Returns the latents of images (of a VAE the means), float32 [B, ...].

  Args:
    model: an AE or VAE.
    images: [B, H, W, C], uint8 in [0, 255] or float in [0, 1].
    batch_size: images at a time.

  Raises:
    ValueError: if the model is neither, or the images do not suit it.
  """
  checks.check_images(images, model.config['data']['image_shape'][-1])
  apply = functools.partial(
    _encode, _module(model), model.variables['autoencoder']
  )
  return _in_batches(apply, images, batch_size)


@fields.checked
def decode(
  model: Any, z: Array, *, batch_size: fields.PositiveInt = 200
) -> np.ndarray:
  """Decodes latents to float32 images in [0, 1].

  Args:
    model: an AE or VAE.
    z: float [B, ...], as `encode` gives them.
    batch_size: latents at a time.

  Raises:
    ValueError: if the model is neither, or the latents are none of its own.
  """
  z = _checked_latents(z)
  shape = latent_shape(model)
  if z.ndim != 1 + len(shape) or z.shape[-1] != shape[-1]:
    raise ValueError(
      f'latents must be float [B, {", ".join(map(str, shape))}]; got {z.shape}.'
    )
  apply = functools.partial(
    _decode, _module(model), model.variables['autoencoder']
  )
  return _in_batches(apply, z, batch_size)


@fields.checked
def interpolate(
  model: Any,
  first: Array,
  last: Array,
  *,
  steps: Annotated[int, fields.Range(least=2, most=2**16)] = 8,
) -> np.ndarray:
  """Decodes the points of a straight line between two images' latents.

  Args:
    model: an AE or VAE.
    first: image [H, W, C].
    last: image of the same shape.
    steps: points, from 2 to 65,536; both ends are among them.

  Returns:
    float32 [steps, H, W, C] in [0, 1].
  """
  if np.shape(first) != np.shape(last):
    raise ValueError(
      'the two images must have one shape; got '
      f'{np.shape(first)} and {np.shape(last)}.'
    )
  a, b = encode(model, np.stack([first, last]))
  share = np.linspace(0, 1, steps, dtype=np.float32)
  share = share.reshape(-1, *(1,) * a.ndim)
  return decode(model, (1 - share) * a[None] + share * b[None])


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatentMixture:
  """A mixture of M normal distributions over latents.

  Attributes:
    weights: float [M].
    means: float [M, N], N the numbers in a latent.
    factors: float [M, N, N]; component m is means[m] + factors[m] @ N(0, I).
    shape: of a latent.
  """

  weights: np.ndarray
  means: np.ndarray
  factors: np.ndarray
  shape: tuple[int, ...]

  @fields.checked
  def sample(self, seed: fields.Seed, num: fields.PositiveInt) -> np.ndarray:
    """Draws latents, float32 [num, *shape]."""
    rng = np.random.default_rng(seed)
    which = rng.choice(len(self.weights), num, p=self.weights)
    noise = rng.normal(size=(num, self.means.shape[1]))
    z = self.means[which] + np.einsum('bij,bj->bi', self.factors[which], noise)
    return z.reshape(num, *self.shape).astype(np.float32)


@fields.checked
def fit_mixture(
  z: Array, components: fields.PositiveInt = 50, *, seed: fields.Seed = 0
) -> LatentMixture:
  """Fits a mixture with full covariances by expectation maximisation.

  The fit is scikit-learn's, from a start by k-means.

  Args:
    z: latents [B, ...], at least as many as components.
    components: M.
    seed: of the start.

  Raises:
    ValueError: if there are fewer latents than components, or one is NaN.
  """
  from sklearn import exceptions  # a second to import
  from sklearn import mixture

  z = _checked_latents(z)
  if components > len(z):
    raise ValueError(
      f'a mixture needs between 1 and {len(z)} components, as many as there '
      f'are latents; got {components}.'
    )
  rows = z.reshape(len(z), -1).astype(np.float64)
  # A floor under the variances, relative to those of the data: few latents can
  # lie in a plane.
  floor = 1e-4 * rows.var(axis=0).mean() + 1e-12
  model = mixture.GaussianMixture(
    components, covariance_type='full', random_state=seed, reg_covar=floor
  )
  with warnings.catch_warnings():
    # 100 rounds are enough to draw from it, converged or not.
    warnings.simplefilter('ignore', exceptions.ConvergenceWarning)
    model.fit(rows)
  return LatentMixture(
    weights=model.weights_,
    means=model.means_,
    factors=np.linalg.cholesky(model.covariances_),
    shape=z.shape[1:],
  )


def _checked_latents(z: Array) -> np.ndarray:
  """Returns latents; raises ValueError unless they are finite [B, ...]."""
  try:
    found = np.asarray(z)
  except ValueError:  # a ragged list
    found = np.empty(0, object)
  if found.ndim < 2 or found.dtype.kind not in 'fiu' or not found.size:
    raise ValueError(
      f'latents must be float [B, ...], one row for each image; got '
      f'{found.dtype} {found.shape}.'
    )
  if not np.isfinite(found).all():
    raise ValueError(
      'latents must be finite; some are NaN or infinite. If an encoder gave '
      'them, its weights are damaged or its training diverged.'
    )
  return found


@functools.partial(jax.jit, static_argnums=0)
def _encode(module, variables, images):
  return module.apply(variables, images, method='latents')


@functools.partial(jax.jit, static_argnums=0)
def _decode(module, variables, z):
  return jnp.clip(module.apply(variables, z, method='decode'), 0, 1)


def _in_batches(apply, rows: Array, size: int) -> np.ndarray:
  """Applies to `size` rows at a time, the last time to what is left."""
  parts = [
    np.asarray(apply(jnp.asarray(rows[i : i + size])))
    for i in range(0, len(rows), size)
  ]
  return np.concatenate(parts)
