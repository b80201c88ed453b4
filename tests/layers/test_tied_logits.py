"""Tied logits and their gradients are those of the plain formula."""

import chex
import jax
import jax.numpy as jnp
import pytest

from vq_jax.layers.tied_logits import tied_logits


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_values_and_gradients(dtype):
  keys = jax.random.split(jax.random.key(0), 4)
  shapes = (2, 3, 5), (7, 5), (7,), (2, 3, 7)
  arrays = map(jax.random.normal, keys, shapes)
  x, embedding, bias, weights = (x.astype(dtype) for x in arrays)

  def plain(x, embedding, bias):
    return jnp.einsum('bnd,kd->bnk', x, embedding) + bias[None, None]

  got, pull_got = jax.vjp(tied_logits, x, embedding, bias)
  want, pull_want = jax.vjp(plain, x, embedding, bias)
  gradients = pull_got(weights), pull_want(weights)
  chex.assert_trees_all_equal_dtypes((got, gradients[0]), (want, gradients[1]))
  if dtype == jnp.float32:
    chex.assert_trees_all_close(got, want, rtol=1e-6)
    chex.assert_trees_all_close(*gradients, rtol=1e-5, atol=1e-6)
  else:
    wide = jax.tree.map(
      lambda x: x.astype(jnp.float32), ((got, want), gradients)
    )
    chex.assert_trees_all_close(*wide[0], rtol=0.02, atol=0.02)
    chex.assert_trees_all_close(*wide[1], rtol=0.02, atol=0.02)
