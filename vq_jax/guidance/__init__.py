"""Images from text: latents are optimised until a guide finds the prompt.

VQGAN+CLIP (https://arxiv.org/abs/2204.08583) with any autoencoder of this
library and any guide that embeds images and texts in one space. `Model.dream`
and `vqjax dream` are built of these parts:

  * `prompts` reads what the image should show; `guides` embeds it.
  * `latents` are optimised; `cutouts` and `augmentations` of the decoded image
    are what a guide sees; `losses` compares both.
  * `options` has all settings; `step` takes one step of many; `motion` moves
    the camera between steps.
"""

from vq_jax.guidance import augmentations
from vq_jax.guidance import cutouts
from vq_jax.guidance import latents
from vq_jax.guidance import losses
from vq_jax.guidance.guides import Guide
from vq_jax.guidance.guides import Targets
from vq_jax.guidance.guides import load_clip_guide
from vq_jax.guidance.guides import load_guide
from vq_jax.guidance.guides import make_clip_guide
from vq_jax.guidance.guides import make_targets
from vq_jax.guidance.motion import Motion
from vq_jax.guidance.options import GuidanceOptions
from vq_jax.guidance.prompts import Prompt
from vq_jax.guidance.prompts import parse_prompt
from vq_jax.guidance.prompts import parse_story
from vq_jax.guidance.step import GuidanceState
from vq_jax.guidance.step import Networks
from vq_jax.guidance.step import StepFn
from vq_jax.guidance.step import init_state
from vq_jax.guidance.step import make_step

__all__ = [
  'Guide',
  'GuidanceOptions',
  'GuidanceState',
  'Motion',
  'Networks',
  'Prompt',
  'StepFn',
  'Targets',
  'augmentations',
  'cutouts',
  'init_state',
  'latents',
  'losses',
  'load_clip_guide',
  'load_guide',
  'make_clip_guide',
  'make_step',
  'make_targets',
  'parse_prompt',
  'parse_story',
]
