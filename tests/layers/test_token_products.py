"""Products of tokens with a kernel are those of `jax.lax.dot_general`."""

import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vq_jax.layers import token_products

SHAPES = [
  ((2, 5, 6), (6, 7), 1),
  ((2, 5, 6), (6, 3, 4), 1),
  ((2, 5, 3, 4), (3, 4, 7), 2),
  ((5, 6), (6, 7), 1),
]


def gradients(dot_general, axes):
  def compute(x, kernel, out):
    last = tuple(range(x.ndim - axes, x.ndim))
    numbers = ((last, tuple(range(axes))), ((), ()))
    y, pull_back = jax.vjp(lambda *a: dot_general(*a, numbers), x, kernel)
    return y, pull_back(out)

  return jax.jit(compute)


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(('x', 'kernel', 'axes'), SHAPES)
def test_values_and_gradients(x, kernel, axes, dtype):
  rng = np.random.default_rng(0)
  shapes = x, kernel, (*x[:-axes], *kernel[axes:])
  arrays = [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]
  got, want = (
    gradients(f, axes)(*arrays)
    for f in (token_products.dot_general, jax.lax.dot_general)
  )
  chex.assert_trees_all_equal_dtypes(got, want)
  chex.assert_trees_all_close(
    *jax.tree.map(lambda x: x.astype(jnp.float32), (got, want)),
    atol=1e-5 if dtype == jnp.float32 else 0.1,
  )


def test_the_compiler_copies_no_operand():
  """XLA:CPU copies operands of the usual gradients, and none of ours."""
  shapes = (8, 64, 128), (128, 256), (8, 64, 256)
  arrays = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]

  def count_copies(dot_general):
    text = gradients(dot_general, 1).lower(*arrays).compile().as_text()
    return len(re.findall(r' (?:copy|transpose)\(', text))

  assert count_copies(jax.lax.dot_general) > 0
  assert count_copies(token_products.dot_general) == 0
