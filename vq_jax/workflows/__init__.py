"""Workflows that apply a model to a data set.

`tokenize` writes its tokens, `probe` measures what an encoder has learned,
`mixture` fits Gaussians to latents, and `classifier_scores` fits the classifier
of rejection sampling. `sample_page` shows the images of a running training.
"""

from vq_jax.workflows import classifier_scores
from vq_jax.workflows import mixture
from vq_jax.workflows import probe
from vq_jax.workflows import sample_page
from vq_jax.workflows import tokenize

__all__ = [
  'classifier_scores',
  'mixture',
  'probe',
  'sample_page',
  'tokenize',
]
