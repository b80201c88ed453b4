"""Tokens are projected as by `nn.DenseGeneral`."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vq_jax.layers import projection

X = np.random.default_rng(0).normal(size=(2, 5, 6)).astype(np.float32)


@pytest.mark.parametrize('dtype', [None, jnp.bfloat16])
@pytest.mark.parametrize('use_bias', [True, False])
@pytest.mark.parametrize(
  ('inputs', 'features'), [((6,), (3, 4)), ((2, 3), (7,)), ((6,), (5,))]
)
def test_it_is_a_dense_layer(inputs, features, use_bias, dtype):
  x = X.reshape(2, 5, *inputs)
  axes = len(inputs)
  fields = {'use_bias': use_bias, 'dtype': dtype}
  ours = projection.Projection(features, axes, **fields)
  theirs = nn.DenseGeneral(features, tuple(range(-axes, 0)), **fields)
  variables = ours.init(jax.random.key(0), x)
  chex.assert_trees_all_equal(variables, theirs.init(jax.random.key(0), x))
  variables = jax.tree.map(lambda x: x + 0.1, variables)

  def gradients(module):
    def loss(variables, x):
      return jnp.sum(jnp.sin(module.apply(variables, x).astype(jnp.float32)))

    return jax.value_and_grad(loss, argnums=(0, 1))(variables, x)

  # The products may add in another order.
  chex.assert_trees_all_close(
    gradients(ours),
    gradients(theirs),
    rtol=1e-6 if dtype is None else 0.01,
    atol=1e-6,
  )


def test_a_product_with_ones_sums_over_examples_and_tokens():
  gradient = np.random.default_rng(1).normal(size=(4, 17, 3, 5))
  gradient = gradient.astype(np.float32)
  np.testing.assert_allclose(
    projection._multiply_by_ones(jnp.asarray(gradient)),
    gradient.sum((0, 1)),
    rtol=2e-5,
    atol=1e-5,
  )
