"""Laws of what the gradient of a code is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.quantizers import cases
from tests.quantizers.cases import D
from vq_jax.quantizers import gradients

ESTIMATORS = list(gradients.ESTIMATORS.values())


@jax.jit
def jacobian(z, e):
  """Of the rotation, for one vector."""
  return jax.jacobian(gradients.rotation)(z, e)


def pairs():
  return zip(cases.latents(20), cases.latents(20, seed=1), strict=True)


@pytest.mark.parametrize('choice', ESTIMATORS)
def test_the_value_is_the_code_to_the_bit(choice):
  z, e = 30 * cases.latents(50), cases.latents(50, seed=1)
  np.testing.assert_array_equal(jax.jit(choice)(z, e), e)


@pytest.mark.parametrize('choice', ESTIMATORS)
def test_no_gradient_reaches_the_code(choice):
  z, e = cases.latents(5), cases.latents(5, seed=1)
  gradient = jax.jit(jax.grad(lambda e: jnp.sum(jnp.sin(choice(z, e)))))(e)
  assert not gradient.any()


def test_rotation_in_the_plane_by_hand():
  """From (2, 0) to (0, 3): a quarter turn, stretched by 3 / 2."""
  got = jacobian(jnp.array([2.0, 0.0]), jnp.array([0.0, 3.0]))
  np.testing.assert_allclose(got, 1.5 * np.array([[0, -1], [1, 0]]), atol=1e-6)


def test_the_jacobian_is_a_stretched_rotation_that_takes_latent_to_code():
  for z, e in pairs():
    got = np.asarray(jacobian(z, e), np.float64)
    scale = np.linalg.norm(e) / np.linalg.norm(z)
    np.testing.assert_allclose(got @ z, e, atol=1e-5)
    np.testing.assert_allclose(
      got @ got.T, scale**2 * np.eye(D), atol=1e-4 * scale**2
    )
    np.testing.assert_allclose(np.linalg.det(got / scale), 1, rtol=1e-4)


def test_gradients_orthogonal_to_both_vectors_are_only_scaled():
  for z, e in pairs():
    *_, other = np.linalg.svd(np.stack([z, e]))
    scale = np.linalg.norm(e) / np.linalg.norm(z)
    got = jacobian(z, e)
    for v in other[2:]:
      np.testing.assert_allclose(got @ v, scale * v, atol=1e-5 * max(scale, 1))


def test_a_latent_on_its_code_gets_the_gradient_as_it_is():
  for z, _ in pairs():
    np.testing.assert_allclose(jacobian(z, z), np.eye(D), atol=1e-6)


@pytest.mark.parametrize('zero', ['latent', 'code', 'both'])
@pytest.mark.parametrize('size', [0.0, 1e-30, 1e-7])
def test_without_a_direction_it_passes_straight_through(zero, size):
  z, e = jnp.ones(D), jnp.arange(1.0, D + 1)
  z = size * z if zero != 'code' else z
  e = size * e if zero != 'latent' else e
  np.testing.assert_array_equal(jacobian(z, e), np.eye(D))


@pytest.mark.parametrize('off', [0.0, 1e-7, 1e-5, 1e-3, 1e-1])
def test_opposite_vectors_still_meet(off):
  z = jnp.arange(1.0, D + 1)
  e = -2 * z + off * jnp.ones(D)
  got = jacobian(z, e)
  scale = jnp.linalg.norm(e) / jnp.linalg.norm(z)
  np.testing.assert_allclose(got @ z, e, atol=0.02)
  np.testing.assert_allclose(got @ got.T, scale**2 * np.eye(D), atol=0.02)


def test_a_soft_choice_has_the_gradient_of_the_mean():
  """Of all codes, by their probabilities; of the codebook the chosen learn."""
  codebook = jnp.asarray(cases.latents(6))
  logits = jnp.asarray(cases.latents(3, 8).reshape(16, 6))
  indices = jnp.argmax(logits, axis=-1)

  def soft(logits, codebook):
    codes = codebook[indices]
    gradient = gradients.weighted_mean_gradient(logits, codebook)
    return jnp.sum(jnp.sin(gradients.soft_choice(codes, gradient)))

  def plain(logits, codebook):
    p = jax.nn.softmax(logits)
    choice = gradients.with_gradient_of(jax.nn.one_hot(indices, 6), p)
    return jnp.sum(jnp.sin(choice @ codebook))

  got, want = (jax.grad(f, argnums=(0, 1)) for f in (soft, plain))
  cases.assert_close(got(logits, codebook), want(logits, codebook))


def test_an_unknown_choice_lists_the_valid_ones():
  for name in ['vq', 'ema_vq', 'simvq']:
    with pytest.raises(ValueError, match="'rotation'; got 'turn'"):
      cases.CASES[name].make(gradient_estimator='turn')


def test_simvq_can_rotate():
  quantizer = cases.CASES['simvq'].make(gradient_estimator='rotation')
  variables = cases.init(quantizer)
  z = cases.latents(12)
  got = jax.grad(
    lambda z: jnp.sum(jnp.sin(cases.run(quantizer, variables, z)[0].quantized))
  )(z)
  codes = cases.run(quantizer, variables, z)[0].quantized
  want = jnp.einsum('ni,nij->nj', jnp.cos(codes), jax.vmap(jacobian)(z, codes))
  np.testing.assert_allclose(got, want, atol=1e-5)
