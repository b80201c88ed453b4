"""Keys of examples, for the tests of the samplers."""

import jax


def keys(n, seed=0):
  return jax.random.split(jax.random.key(seed), n)
