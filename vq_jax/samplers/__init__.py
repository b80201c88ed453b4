"""Samplers: strategies that sample the tokens of a prior.

`MaskGITSampler` and `AutoregressiveSampler` are frozen dataclasses of options,
so they are static under jit. They take one random key per example, so that the
size of a batch, and the devices it is sharded over, change no sample. Their
loops, `maskgit.decode` and `autoregressive.decode`, are pure functions that
also work with functions other than a prior of this library.
"""

from vq_jax.samplers import autoregressive
from vq_jax.samplers import guidance
from vq_jax.samplers import maskgit
from vq_jax.samplers import orders
from vq_jax.samplers import schedules
from vq_jax.samplers.autoregressive import AutoregressiveSampler
from vq_jax.samplers.base import TokenSampler
from vq_jax.samplers.choice import INVALID
from vq_jax.samplers.choice import TokenChoice
from vq_jax.samplers.choice import require_valid
from vq_jax.samplers.guidance import Guidance
from vq_jax.samplers.keys import example_keys
from vq_jax.samplers.keys import fold_in
from vq_jax.samplers.keys import make_key
from vq_jax.samplers.maskgit import MaskGITSampler
from vq_jax.samplers.options import Sampler
from vq_jax.samplers.options import sampler_for
from vq_jax.samplers.options import with_options
from vq_jax.samplers.rejection import rejection_sample

__all__ = [
  'INVALID',
  'AutoregressiveSampler',
  'Guidance',
  'MaskGITSampler',
  'Sampler',
  'TokenChoice',
  'TokenSampler',
  'autoregressive',
  'example_keys',
  'fold_in',
  'guidance',
  'make_key',
  'maskgit',
  'orders',
  'rejection_sample',
  'require_valid',
  'sampler_for',
  'schedules',
  'with_options',
]
