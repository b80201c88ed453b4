"""Tied logits and their gradients are those of the plain formula."""

import jax
import jax.numpy as jnp
import numpy as np

from vq_jax.layers.tied_logits import tied_logits


def test_values_and_gradients():
  keys = jax.random.split(jax.random.key(0), 4)
  shapes = (2, 3, 5), (7, 5), (7,), (2, 3, 7)
  x, embedding, bias, weights = map(jax.random.normal, keys, shapes)

  def plain(x, embedding, bias):
    return jnp.einsum('bnd,kd->bnk', x, embedding) + bias[None, None]

  got, pull_got = jax.vjp(tied_logits, x, embedding, bias)
  want, pull_want = jax.vjp(plain, x, embedding, bias)
  np.testing.assert_allclose(got, want, rtol=1e-6)
  for a, b in zip(pull_got(weights), pull_want(weights), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
