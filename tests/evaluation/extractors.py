"""Extractors of features that are cheap."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from vq_jax import features


def random_projection(
  seed: int = 0, outputs=('pooled', 'spatial', 'logits'), pooled: int = 6
):
  """Returns an extractor that projects 4 x 4 grey levels at random."""
  rng = np.random.default_rng(seed)
  widths = {'pooled': pooled, 'spatial': 5, 'logits': 3}
  matrices = {
    name: rng.normal(size=(16, widths[name])).astype(np.float32) / 64
    for name in outputs
  }
  return features.FeatureExtractor(
    name='projection',
    checksum=str(seed),
    resizer='none',
    outputs=tuple(outputs),
    resize=lambda images: images.astype(np.float32),
    apply=functools.partial(_project, matrices),
  )


@jax.jit
def _project(matrices, images):
  b, h, w, _ = images.shape
  cells = images.mean(axis=-1).reshape(b, 4, h // 4, 4, w // 4).mean((2, 4))
  flat = jnp.reshape(cells, (b, 16))
  return {name: flat @ matrix for name, matrix in matrices.items()}


class Delayed:
  """Features that are computed, or fail, when someone waits for them."""

  def __init__(self, features, log, error=None):
    self._features, self._log, self._error = features, log, error

  def __array__(self, dtype=None, copy=None):
    self._log.append('wait')
    if self._error is not None:
      raise self._error
    return np.asarray(self._features, dtype)


def delayed(log: list[str], fail_at: int | None = None):
  """Returns an extractor of means that notes its steps.

  Args:
    log: 'resize' and 'wait' are appended to it, for each part of a batch.
    fail_at: number of the part whose computation fails.
  """

  def resize(images):
    log.append('resize')
    return images.astype(np.float32)

  def apply(images):
    failed = fail_at is not None and log.count('resize') == fail_at + 1
    error = RuntimeError('out of memory') if failed else None
    return {'pooled': Delayed(images.mean((1, 2)), log, error)}

  return features.FeatureExtractor(
    name='mean',
    checksum=None,
    resizer='none',
    outputs=('pooled',),
    resize=resize,
    apply=apply,
  )
