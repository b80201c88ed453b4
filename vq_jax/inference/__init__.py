"""What a `vq_jax.Model` does, as functions of modules, variables and facts.

`codec` encodes and decodes images, `generate` samples new ones, `edit` redraws
parts of given ones, `dream` optimises images for a text, and `latents` works
with autoencoders without a quantizer.
"""

from vq_jax.inference import canvas
from vq_jax.inference import codec
from vq_jax.inference import dream
from vq_jax.inference import edit
from vq_jax.inference import generate
from vq_jax.inference import labels
from vq_jax.inference import latents
from vq_jax.inference import masks
from vq_jax.inference import validate
from vq_jax.inference import windows
from vq_jax.inference.guided_model import GuidedModel
from vq_jax.inference.image_codec import ImageCodec
from vq_jax.inference.info import Level
from vq_jax.inference.info import ModelInfo
from vq_jax.inference.info import Pipeline
from vq_jax.inference.info import TrainingData

__all__ = [
  'GuidedModel',
  'ImageCodec',
  'Level',
  'ModelInfo',
  'Pipeline',
  'TrainingData',
  'canvas',
  'codec',
  'dream',
  'edit',
  'generate',
  'labels',
  'latents',
  'masks',
  'validate',
  'windows',
]
