"""Parallel decoding of a toy prior, with the tokens of each step."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from tests.samplers.keys import keys
from vq_jax import samplers

MASK = 10
GRID = (4, 5)
N = GRID[0] * GRID[1]


def logits_fn(tokens, progress):
  """Logits of an example that depend on all of its tokens, and on no other."""
  del progress
  position = jnp.arange(tokens.shape[1], dtype=jnp.float32)[None, :, None]
  code = jnp.arange(MASK, dtype=jnp.float32)[None, None]
  mark = (tokens.sum(axis=1) % 97).astype(jnp.float32)[:, None, None]
  return 3 * jnp.sin(7 * position + 3 * code * (1 + position) + mark)


def critic_fn(tokens, progress):
  """Has high scores for some tokens at some positions."""
  del progress
  return jnp.cos(3 * tokens + jnp.arange(tokens.shape[1])[None] ** 2)


def some_tokens():
  """None given, some given, all given, and one missing: int32 [4, N]."""
  given = jnp.arange(N) % MASK
  return jnp.stack(
    [
      jnp.full(N, MASK),
      jnp.where(jnp.arange(N) < 13, MASK, given),
      given,
      jnp.where(jnp.arange(N) == 4, MASK, given),
    ]
  )


@functools.partial(jax.jit, static_argnums=0)
def run(sampler, keys, tokens):
  return samplers.maskgit.decode(
    keys,
    logits_fn,
    tokens,
    sampler,
    mask_id=MASK,
    grid=GRID,
    critic_fn=critic_fn,
  )


def states(sampler, tokens=None, logits_fn=logits_fn, **options):
  """The tokens before each step and after the last: T + 1 arrays [B, N]."""
  tokens = some_tokens() if tokens is None else tokens
  seen = []

  def spy(tokens, progress):
    jax.debug.callback(
      lambda x: seen.append(np.asarray(x)), tokens, ordered=True
    )
    return logits_fn(tokens, progress)

  final = samplers.maskgit.decode(
    keys(len(tokens)), spy, tokens, sampler, mask_id=MASK, **options
  )
  jax.effects_barrier()
  return [*seen, np.asarray(final)]
