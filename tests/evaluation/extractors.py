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
