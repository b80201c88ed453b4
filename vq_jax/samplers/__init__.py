"""Drawing tokens from a prior.

Two decoders, `maskgit.decode` and `autoregressive.decode`, are pure functions
that take one key per example, so that a batch gives the same tokens however it
is cut or spread over devices. Strategies are frozen dataclasses, so they are
static under jit.
"""

from vq_jax.samplers import autoregressive
from vq_jax.samplers import edit
from vq_jax.samplers import guidance
from vq_jax.samplers import maskgit
from vq_jax.samplers import orders
from vq_jax.samplers import schedules
from vq_jax.samplers.choice import INVALID
from vq_jax.samplers.choice import TokenChoice
from vq_jax.samplers.choice import require_valid
from vq_jax.samplers.guidance import Guidance
from vq_jax.samplers.keys import example_keys
from vq_jax.samplers.keys import fold_in
from vq_jax.samplers.keys import make_key
from vq_jax.samplers.maskgit import MaskGITDecoding
from vq_jax.samplers.maskgit import Remasking
from vq_jax.samplers.rejection import rejection_sample

__all__ = [
  'INVALID',
  'Guidance',
  'MaskGITDecoding',
  'Remasking',
  'TokenChoice',
  'autoregressive',
  'edit',
  'example_keys',
  'fold_in',
  'guidance',
  'make_key',
  'maskgit',
  'orders',
  'rejection_sample',
  'require_valid',
  'schedules',
]
