"""The fast argmax equals NumPy's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vq_jax.utils.argmax import argmax


@pytest.mark.parametrize('length', [1, 511, 512, 513, 1024, 1500])
def test_ties_go_to_the_lowest_index(length):
  rng = np.random.default_rng(length)
  x = rng.integers(0, 6, (5, 7, length)).astype(np.float32)
  np.testing.assert_array_equal(argmax(jnp.asarray(x)), x.argmax(axis=-1))
  mapped = jax.jit(jax.vmap(argmax))(jnp.asarray(x))
  np.testing.assert_array_equal(mapped, x.argmax(axis=-1))


@pytest.mark.parametrize('position', [0, 127, 128, 700, 999])
def test_the_largest_element_is_found_anywhere(position):
  x = np.full(1000, -np.inf, np.float32)
  assert argmax(jnp.asarray(x)) == 0
  x[position] = -5
  assert argmax(jnp.asarray(x)) == position
