"""Drawing tokens from a prior.

Samplers are pure functions of (rng, logits_fn, tokens, strategy). Strategies
are frozen dataclasses, so they are static under jit.
"""

from vq_jax.samplers import guidance
from vq_jax.samplers import schedules
from vq_jax.samplers.choice import TokenChoice
from vq_jax.samplers.guidance import Guidance
from vq_jax.samplers.maskgit import MaskGITDecoding
from vq_jax.samplers.maskgit import decode

__all__ = [
  'Guidance',
  'MaskGITDecoding',
  'TokenChoice',
  'decode',
  'guidance',
  'schedules',
]
