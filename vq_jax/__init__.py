"""vq_jax: vector-quantized image models in JAX and Flax.

Images become discrete tokens, a prior learns the tokens, a sampler samples new
ones, and the decoder turns them back into images.

    model = vq_jax.load('fashion')
    images = model.generate(0, labels=[3, 7])
"""

from vq_jax import autoencoders
from vq_jax import convert
from vq_jax import data
from vq_jax import discriminators
from vq_jax import evaluation
from vq_jax import features
from vq_jax import inference
from vq_jax import losses
from vq_jax import metrics
from vq_jax import priors
from vq_jax import quantizers
from vq_jax import runs
from vq_jax import samplers
from vq_jax import workflows
from vq_jax._version import __version__
from vq_jax.model import Model
from vq_jax.runs.load import load

__all__ = [
  'Model',
  '__version__',
  'autoencoders',
  'convert',
  'data',
  'discriminators',
  'evaluation',
  'features',
  'inference',
  'load',
  'losses',
  'metrics',
  'priors',
  'quantizers',
  'runs',
  'samplers',
  'workflows',
]
