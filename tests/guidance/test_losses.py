"""Laws of the losses of guided images."""

import jax
import jax.numpy as jnp
import numpy as np

from vq_jax.guidance import losses


def unit(*shape, seed=0):
  x = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
  return jnp.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True))


def test_spherical_distance_is_half_the_squared_angle():
  a, b = unit(20, 5), unit(20, 5, seed=1)
  angle = np.arccos(np.clip((np.asarray(a) * b).sum(-1), -1, 1))
  got = losses.spherical_distance(a, b)
  np.testing.assert_allclose(got, angle**2 / 2, rtol=1e-3, atol=1e-5)
  np.testing.assert_allclose(got, losses.spherical_distance(b, a))


def test_spherical_distance_of_equal_and_opposite_vectors():
  a = unit(3, 5)
  grad = jax.grad(lambda x, y: losses.spherical_distance(x, y).sum())
  np.testing.assert_array_equal(losses.spherical_distance(a, a), 0)
  far = losses.spherical_distance(a, -a)
  np.testing.assert_allclose(far, np.pi**2 / 2, rtol=1e-3)
  assert np.isfinite(grad(a, a)).all() and np.isfinite(grad(a, -a)).all()


def prompt_losses(weight, stop, embedding=None):
  embedding = unit(4, 5) if embedding is None else embedding
  return losses.prompt_losses(
    embedding, unit(1, 5, seed=9), jnp.array([weight]), jnp.array([stop])
  )


def test_the_weight_scales_and_its_sign_turns_the_gradient():
  grad = jax.grad(lambda e, w: prompt_losses(w, -100.0, e).sum())
  one, back = grad(unit(4, 5), 1.0), grad(unit(4, 5), -2.0)
  np.testing.assert_allclose(back, -2 * one, rtol=1e-5)
  np.testing.assert_allclose(
    prompt_losses(-2.0, -100.0), -2 * prompt_losses(1.0, -100.0), rtol=1e-6
  )


def test_below_the_stop_there_is_no_gradient():
  grad = jax.grad(lambda e, w, stop: prompt_losses(w, stop, e).sum())
  distances = prompt_losses(1.0, -100.0)[:, 0]
  stop = float(np.median(distances))
  found = np.abs(grad(unit(4, 5), 1.0, stop)).sum(axis=1)
  np.testing.assert_array_equal(found > 0, distances > stop)
  # Away from a prompt, the distance grows until its negative is the stop.
  found = np.abs(grad(unit(4, 5), -1.0, -stop)).sum(axis=1)
  np.testing.assert_array_equal(found > 0, distances < stop)
  np.testing.assert_array_equal(prompt_losses(1.0, 3.0)[:, 0], distances)


def test_a_prompt_of_weight_0_changes_nothing():
  assert not prompt_losses(0.0, -100.0).any()


def test_total_variation_is_0_for_one_colour_and_that_of_a_ramp():
  flat = jnp.full((2, 4, 5, 3), 0.3)
  assert not losses.total_variation(flat).any()
  ramp = jnp.broadcast_to(jnp.arange(5.0)[None, None, :, None], (1, 4, 5, 3))
  np.testing.assert_allclose(losses.total_variation(ramp), [1.0])
  assert losses.total_variation(jnp.ones((1, 1, 1, 3))).tolist() == [0.0]


def test_clipping_lets_gradients_pass_that_lead_back():
  x = jnp.array([-0.5, -0.5, 0.5, 0.5, 1.5, 1.5])
  toward = jnp.array([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
  value, pull = jax.vjp(losses.clip_with_gradient, x)
  np.testing.assert_array_equal(value, [0, 0, 0.5, 0.5, 1, 1])
  # Descent moves against the gradient: up from -0.5, down from 1.5.
  np.testing.assert_array_equal(pull(toward)[0], [0, -1, 1, -1, 1, 0])
