"""Gaussian mixtures of latents, from which an AE or VAE generates images.

The latents of an autoencoder have an unknown distribution, and those of a VAE
(its aggregate posterior) are not exactly N(0, I). A mixture of Gaussians that
is fitted to them can be sampled:

    model = vq_jax.load('runs/ae')
    z = mixture.encode_source(model, 'tfds:mnist')
    gaussians = mixture.fit_mixture(z, components=50)
    images = model.decode(gaussians.sample(0, 16))
"""

import dataclasses
import os
import warnings

import jax
import numpy as np

from vq_jax import data
from vq_jax.inference import latents
from vq_jax.model import Model
from vq_jax.utils import fields
from vq_jax.utils import packages

Array = jax.Array | np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatentMixture:
  """A mixture of M Gaussians over latents of N numbers.

  Attributes:
    weights: float [M], the probabilities of the components.
    means: float [M, N].
    factors: float [M, N, N]; component m is means[m] + factors[m] @ N(0, I).
    shape: the shape of a latent, whose size is N.

  Example:
    >>> import numpy as np
    >>> from vq_jax.workflows import mixture
    >>> gaussian = mixture.LatentMixture(
    ...   weights=np.ones(1), means=np.zeros((1, 2)), factors=np.eye(2)[None],
    ...   shape=(2,))
    >>> gaussian.sample(0, 3).shape
    (3, 2)
  """

  weights: np.ndarray
  means: np.ndarray
  factors: np.ndarray
  shape: tuple[int, ...]

  @fields.checked
  def sample(self, seed: fields.Seed, num: fields.PositiveInt) -> np.ndarray:
    """Samples latents.

    Args:
      seed: the seed.
      num: the number of latents.

    Returns:
      float32 [num, *shape].
    """
    rng = np.random.default_rng(seed)
    component = rng.choice(len(self.weights), num, p=self.weights)
    noise = rng.normal(size=(num, self.means.shape[1]))
    z = self.means[component]
    z = z + np.einsum('bij,bj->bi', self.factors[component], noise)
    return z.reshape(num, *self.shape).astype(np.float32)


@fields.checked
def fit_mixture(
  z: Array, components: fields.PositiveInt = 50, *, seed: fields.Seed = 0
) -> LatentMixture:
  """Fits a mixture with full covariances by expectation maximization.

  The fit is that of scikit-learn, initialized by k-means.

  Args:
    z: latents [B, ...], at least as many as components.
    components: M.
    seed: the seed of the initialization.

  Raises:
    ValueError: if there are fewer latents than components, or one is NaN.
  """
  with packages.required_for('fitting a mixture'):
    from sklearn import exceptions  # a second to import
    from sklearn import mixture

  z = latents.check_latents(z)
  if components > len(z):
    raise ValueError(
      f'a mixture needs between 1 and {len(z)} components, as many as there '
      f'are latents; got {components}.'
    )
  rows = z.reshape(len(z), -1).astype(np.float64)
  # A floor of the variances, relative to those of the data: a few latents can
  # lie in a plane.
  floor = 1e-4 * rows.var(axis=0).mean() + 1e-12
  model = mixture.GaussianMixture(
    components, covariance_type='full', random_state=seed, reg_covar=floor
  )
  with warnings.catch_warnings():
    # 100 iterations are enough for sampling, converged or not.
    warnings.simplefilter('ignore', exceptions.ConvergenceWarning)
    model.fit(rows)
  return LatentMixture(
    weights=model.weights_,
    means=model.means_,
    factors=np.linalg.cholesky(model.covariances_),
    shape=z.shape[1:],
  )


def encode_source(
  model: Model,
  source: str | None = None,
  split: str = 'train',
  *,
  data_dir: str | os.PathLike | None = None,
  limit: int | None = None,
) -> np.ndarray:
  """Encodes the images of a data set to latents.

  Args:
    model: an AE or VAE.
    source: the data set; see `vq_jax.data.open_source`. By default that of the
      run's training.
    split: the split.
    data_dir: the folder of the data sets of TFDS; by default that of the run.
    limit: the largest number of images; None is no limit.

  Returns:
    float32 [B, ...].

  Raises:
    ValueError: if the model is neither an AE nor a VAE, or the images do not
      fit it.
    DataError: if the data set cannot be read.
  """
  latents.require_latents(model.autoencoder)
  batches = data.open_eval_batches(
    source or model.info.data.source,
    split,
    data_dir=data_dir or model.info.data.data_dir,
    channels=model.info.image_shape[-1],
    preprocess=model.info.preprocess,
    limit=limit,
  )
  return np.concatenate(
    [np.asarray(model.encode(b['image'][b['mask']])) for b in batches]
  )
