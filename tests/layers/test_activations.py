"""Activations compute in float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vq_jax.layers import activations

X = jnp.linspace(-6, 6, 999)


@pytest.mark.parametrize('name', activations.BY_NAME)
def test_in_bfloat16_only_the_result_is_rounded(name):
  activate = activations.BY_NAME[name]
  x = X.astype(jnp.bfloat16)
  want = activate(x.astype(jnp.float32))
  assert want.dtype == jnp.float32
  np.testing.assert_array_equal(activate(x), want.astype(jnp.bfloat16))


@pytest.mark.parametrize(
  ('name', 'want'),
  [
    ('gelu', jax.nn.gelu),
    ('gelu_exact', lambda x: jax.nn.gelu(x, approximate=False)),
    ('swiglu', jax.nn.silu),
    ('tanh', jnp.tanh),
  ],
)
def test_they_are_those_of_jax(name, want):
  np.testing.assert_array_equal(activations.BY_NAME[name](X), want(X))
