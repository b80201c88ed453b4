"""Products have the values and the gradients of `jnp.einsum`."""

import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vq_jax.layers import products
from vq_jax.utils import compilation

# (subscripts, size of each axis)
EINSUMS = [
  ('bnd,kd->bnk', {'b': 2, 'n': 5, 'd': 6, 'k': 7}),
  ('bnhd,bmhd->bhnm', {'b': 2, 'n': 16, 'm': 16, 'h': 2, 'd': 8}),
  ('bnhd,bmhd->bhnm', {'b': 1, 'n': 1, 'm': 9, 'h': 3, 'd': 1}),
  ('bnhd,bmhd->bhnm', {'b': 8, 'n': 64, 'm': 257, 'h': 2, 'd': 48}),
  ('bhnm,bmhd->bnhd', {'b': 2, 'n': 16, 'm': 16, 'h': 2, 'd': 8}),
  ('bhnm,bmhd->bnhd', {'b': 3, 'n': 7, 'm': 1, 'h': 1, 'd': 5}),
  ('bhnm,bmhd->bnhd', {'b': 8, 'n': 64, 'm': 257, 'h': 2, 'd': 48}),
]
PROJECTIONS = [
  ((2, 5, 6), (6, 7), 1),
  ((2, 5, 6), (6, 3, 4), 1),
  ((2, 5, 3, 4), (3, 4, 7), 2),
  ((5, 6), (6, 7), 1),
  ((1, 1, 3, 4), (3, 4, 1), 2),
  ((8, 257, 64), (64, 128), 1),
]
(CPU, *_) = jax.devices('cpu')
COMPILERS = pytest.mark.parametrize(
  'options', [None, compilation.get_compiler_options(CPU)]
)
DTYPES = pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])


def check(got, want, shapes, dtype, options):
  """Compares two products of two arrays, and their gradients."""
  rng = np.random.default_rng(0)
  x, y = (jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes)

  def gradients(multiply):
    def compute(x, y):
      z, pull_back = jax.vjp(multiply, x, y)
      return z, pull_back(jnp.sin(z))

    return jax.jit(compute, compiler_options=options)(x, y)

  got, want = gradients(got), gradients(want)
  chex.assert_trees_all_equal_dtypes(got, want)
  got, want = jax.tree.map(lambda x: np.asarray(x, np.float32), (got, want))
  rtol, most = (1e-5, 1e-5) if dtype == jnp.float32 else (0.02, 0.1)
  if x.size > 10_000:
    most = np.inf  # long sums
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(
      x, y, atol=min(most, rtol * np.abs(y).max())
    ),
    got,
    want,
  )


@COMPILERS
@DTYPES
@pytest.mark.parametrize('out', [None, jnp.float32])
@pytest.mark.parametrize(('subscripts', 'sizes'), EINSUMS)
def test_einsum(subscripts, sizes, out, dtype, options):
  inputs = subscripts.split('->')[0].split(',')
  check(
    lambda x, y: products.einsum(subscripts, x, y, dtype=out),
    lambda x, y: jnp.einsum(
      subscripts, x, y, preferred_element_type=out or dtype
    ),
    [[sizes[axis] for axis in axes] for axes in inputs],
    dtype,
    options,
  )


@COMPILERS
@DTYPES
@pytest.mark.parametrize(('x', 'kernel', 'axes'), PROJECTIONS)
def test_project(x, kernel, axes, dtype, options):
  check(
    lambda x, kernel: products.project(x, kernel, axes),
    lambda x, kernel: jnp.tensordot(x, kernel, axes),
    [x, kernel],
    dtype,
    options,
  )


def compile_gradients(project, dtype):
  def compute(x, kernel, out):
    y, pull_back = jax.vjp(project, x, kernel)
    return y, pull_back(out)

  shapes = (8, 64, 128), (128, 256), (8, 64, 256)
  arrays = [jax.ShapeDtypeStruct(shape, dtype) for shape in shapes]
  lowered = jax.jit(compute).lower(*arrays)
  return lowered, lowered.compile().as_text()


def test_the_compiler_copies_no_operand():
  """XLA:CPU copies operands of the usual gradients, and none of ours."""

  def count_copies(project):
    _, text = compile_gradients(project, jnp.float32)
    return len(re.findall(r' (?:copy|transpose)\(', text))

  assert count_copies(lambda x, kernel: jnp.tensordot(x, kernel, 1)) > 0
  assert count_copies(products.project) == 0


def test_all_products_multiply_bfloat16_and_return_float32():
  """No other products of bfloat16 are fast on CPUs."""
  lowered, _ = compile_gradients(products.project, jnp.bfloat16)
  dots = re.findall(
    r'dot_general.*: \((.*)\) -> tensor<(.*)>', lowered.as_text()
  )
  assert len(dots) == 3
  for factors, product in dots:
    assert factors.count('xbf16>') == 2 and product.endswith('xf32')
