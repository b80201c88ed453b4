"""Laws of the losses over tokens."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vq_jax import losses


def example(*shape, size=7, scale=3):
  rng = np.random.default_rng(0)
  logits = scale * rng.normal(size=(*shape, size))
  return logits.astype(np.float32), rng.integers(0, size, shape).astype(
    np.int32
  )


@pytest.mark.parametrize('smoothing', [0.0, 0.1, 1.0])
@pytest.mark.parametrize('shape', [(5,), (3, 4)])
def test_cross_entropy_by_hand(shape, smoothing):
  logits, targets = example(*shape)
  p = np.exp(logits.astype(np.float64))
  p /= p.sum(axis=-1, keepdims=True)
  want = np.zeros(shape)
  for index in np.ndindex(shape):
    row = np.log(p[index])
    want[index] = -(1 - smoothing) * row[targets[index]]
    want[index] -= smoothing * row.mean()
  got = losses.cross_entropy(logits, targets, smoothing)
  np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize('smoothing', [0.0, 0.1])
def test_cross_entropy_is_that_of_smoothed_labels(smoothing):
  logits, targets = example(3, 4)
  labels = optax.smooth_labels(jax.nn.one_hot(targets, 7), smoothing)
  want = optax.softmax_cross_entropy(logits, labels)
  got = losses.cross_entropy(logits, targets, smoothing)
  np.testing.assert_allclose(got, want, rtol=1e-5)


def test_cross_entropy_of_half_precision_logits_is_float32():
  logits, targets = example(50, size=500)
  half = jnp.asarray(logits, jnp.bfloat16)
  got = losses.cross_entropy(half, targets)
  assert got.dtype == jnp.float32
  np.testing.assert_array_equal(
    got, losses.cross_entropy(half.astype(jnp.float32), targets)
  )


def test_cross_entropy_of_huge_logits_is_finite():
  logits = jnp.array([[1e30, -1e30, 0.0]])
  assert losses.cross_entropy(logits, jnp.array([0]))[0] == 0
  assert np.isfinite(losses.cross_entropy(logits, jnp.array([1]), 0.1))[0]


def test_weighted_mean_by_hand():
  values, weights = np.array([1.0, 2.0, 4.0]), np.array([1, 0, 3])
  np.testing.assert_allclose(
    losses.weighted_mean(jnp.asarray(values), jnp.asarray(weights)), 13 / 4
  )
  mask = jnp.array([True, True, False])
  assert losses.weighted_mean(jnp.asarray(values), mask) == 1.5
  assert losses.weighted_mean(jnp.asarray(values), jnp.zeros(3)) == 0


def test_weighted_mean_over_replicas_is_that_of_the_whole_batch():
  """Values and gradients, though one replica has no weight and one has most."""
  rng = np.random.default_rng(0)
  x = rng.normal(size=(8, 5)).astype(np.float32)
  weights = rng.integers(0, 2, (8, 5)).astype(np.float32)
  weights[0], weights[1] = 0, 50
  slope = jnp.float32(0.7)

  def loss(slope, x, weights, axis_name=None):
    return losses.weighted_mean(jnp.sin(slope * x), weights, axis_name)

  both = jax.value_and_grad(loss)
  want = jax.jit(both)(slope, x, weights)
  got = jax.pmap(
    functools.partial(both, axis_name='batch'), 'batch', in_axes=(None, 0, 0)
  )(slope, x, weights)
  assert got[0][0] == 0
  for mine, whole in zip(got, want, strict=True):
    np.testing.assert_allclose(np.mean(mine), whole, rtol=1e-5)


def test_the_mean_of_examples_by_hand():
  """As Google's MaskGIT; that of all tokens would be 13 / 4."""
  values = jnp.array([[1.0, 2.0], [4.0, 6.0], [5.0, 5.0]])
  weights = jnp.array([[1, 0], [3, 1], [0, 0]])
  got = losses.mean_of_examples(values, weights)
  np.testing.assert_allclose(got, (1 + 18 / 4 + 0) / 3)


def test_mean_of_examples_gives_few_masked_tokens_more_weight():
  """With the cosine schedule: examples of which little is masked."""
  ratio = np.cos(np.pi / 2 * (np.arange(100_000) + 0.5) / 100_000)
  few = (masked := np.ceil(256 * ratio)) <= 26
  np.testing.assert_allclose(masked[few].sum() / masked.sum(), 0.005, atol=1e-3)
  np.testing.assert_allclose(few.mean(), 0.065, atol=1e-3)


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize('smoothing', [0.0, 0.1, 1.0])
def test_the_gradient_of_the_cross_entropy_is_that_of_its_formula(
  smoothing, dtype
):
  logits, weights = (
    jax.random.normal(jax.random.key(i), (3, 5, 11)).astype(dtype)
    for i in range(2)
  )
  targets = jnp.arange(15).reshape(3, 5) % 11

  def formula(logits):
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
    labels = optax.smooth_labels(jax.nn.one_hot(targets, 11), smoothing)
    return -(labels * log_p).sum(-1)

  got, want = (
    jax.grad(lambda x, f=f: (f(x) * weights[..., 0]).sum())(4 * logits)
    for f in (
      lambda x: losses.cross_entropy(x, targets, smoothing),
      formula,
    )
  )
  assert got.dtype == dtype
  np.testing.assert_allclose(
    got.astype(jnp.float32), want.astype(jnp.float32), rtol=1e-2, atol=1e-6
  )
