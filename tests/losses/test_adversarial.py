"""Laws of what the two sides of adversarial training minimise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vq_jax.losses import adversarial

KINDS = {
  'hinge': adversarial.Hinge(),
  'non_saturating': adversarial.NonSaturating(),
  'vanilla': adversarial.Vanilla(),
}
every = pytest.mark.parametrize('kind', KINDS)


def logits(*shape, seed=0):
  rng = np.random.default_rng(seed)
  return rng.normal(scale=3, size=shape).astype(np.float32)


def softplus(x):
  return np.log1p(np.exp(np.asarray(x, np.float64)))


def by_hand(kind, real, fake):
  """(generator, discriminator), logit by logit."""
  if kind == 'hinge':
    discriminator = 0.5 * (np.maximum(0, 1 - real) + np.maximum(0, 1 + fake))
    return -fake, discriminator
  cross_entropy = softplus(-real) + softplus(fake)
  if kind == 'vanilla':
    return -fake, 0.5 * cross_entropy
  return softplus(-fake), cross_entropy


@every
@pytest.mark.parametrize('patches', [(), (2, 3)])
def test_by_hand_a_mean_for_each_image(kind, patches):
  real, fake = logits(5, *patches), logits(5, *patches, seed=1)
  assert real.min() < -1 and fake.min() < -1
  assert real.max() > 1 and fake.max() > 1
  generator, discriminator = (
    x.reshape(5, -1).mean(axis=1) for x in by_hand(kind, real, fake)
  )
  got = jax.jit(KINDS[kind].generator)(fake)
  np.testing.assert_allclose(got, generator, rtol=1e-5)
  got = jax.jit(KINDS[kind].discriminator)(real, fake)
  np.testing.assert_allclose(got, discriminator, rtol=1e-5)
  assert got.shape == (5,)


@every
def test_the_gradients_of_both_losses_have_the_right_signs(kind):
  """Real up and fake down for the one, fake up for the other."""
  loss = KINDS[kind]
  zeros = jnp.zeros(3)
  real, fake = jax.grad(lambda *x: loss.discriminator(*x).sum(), (0, 1))(
    zeros, zeros
  )
  assert (real < 0).all() and (fake > 0).all()
  assert (jax.grad(lambda x: loss.generator(x).sum())(zeros) < 0).all()


def test_hinge_has_no_gradient_beyond_the_margin():
  loss = KINDS['hinge']
  sure, unsure = jnp.array([1.5]), jnp.array([0.5])
  slopes = jax.grad(lambda *x: loss.discriminator(*x).sum(), (0, 1))
  assert slopes(sure, -sure) == (0, 0)
  assert slopes(unsure, -unsure) == (-0.5, 0.5)


@every
def test_extreme_logits_have_finite_losses(kind):
  far = jnp.array([-1e4, 1e4])
  assert np.isfinite(KINDS[kind].generator(far)).all()
  assert np.isfinite(KINDS[kind].discriminator(far, -far)).all()


def test_strategies_are_hashable_and_equal():
  assert adversarial.Hinge() == adversarial.Hinge()
  assert len(set(KINDS.values()) | {adversarial.Hinge()}) == 3


def test_the_penalty_of_a_linear_and_a_quadratic_function():
  x, w = logits(4, 3, 3, 2), logits(1, 3, 3, 2, seed=1)

  def linear(x):
    return jnp.sum(w * x, axis=(1, 2, 3))

  got = adversarial.r1_penalty(linear, x)
  np.testing.assert_allclose(got, np.full(4, np.square(w).sum()), rtol=1e-5)

  def patches(x):
    """Their sum is |x|^2, whose slope is 2 x."""
    return jnp.square(x).sum(axis=-1)

  got = jax.jit(lambda x: adversarial.r1_penalty(patches, x))(x)
  want = 4 * np.square(x).reshape(4, -1).sum(axis=1)
  np.testing.assert_allclose(got, want, rtol=1e-5)


def test_the_penalty_includes_effects_on_other_images():
  x = logits(3, 2, 2, 1)

  def coupled(x):
    total = x.sum(axis=(1, 2, 3))
    return total + total.mean()  # each of the pixels moves the sum by 2

  np.testing.assert_allclose(
    adversarial.r1_penalty(coupled, x), np.full(3, 4 * 4.0), rtol=1e-5
  )


def test_the_penalty_can_be_minimised():
  """|d w |x|^2|^2 = 4 w^2 |x|^2: the slope in w is 8 w |x|^2."""
  x = logits(2, 2, 2, 1)

  def penalty(w):
    return adversarial.r1_penalty(
      lambda x: w * jnp.square(x).sum(axis=(1, 2, 3)), x
    ).sum()

  got = jax.grad(penalty)(3.0)
  np.testing.assert_allclose(got, 24 * np.square(x).sum(), rtol=1e-5)


def test_lecam_by_hand():
  real, fake = np.array([2.0, -3.0, 0.5]), np.array([-2.0, 3.0, 0.4])
  means = adversarial.LogitMeans(real=jnp.array(1.0), fake=jnp.array(-0.5))
  got = adversarial.lecam(
    jnp.asarray(real, jnp.float32), jnp.asarray(fake, jnp.float32), means
  )
  want = [2.5**2 + 3**2, 0, 1 + 0.6**2]
  np.testing.assert_allclose(got, want, rtol=1e-5)


def test_lecam_averages_patches_and_has_gradients_on_logits_only():
  real, fake = logits(3, 2, 2), logits(3, 2, 2, seed=1)
  means = adversarial.LogitMeans(real=jnp.array(1.0), fake=jnp.array(-0.5))

  def total(real, fake, means):
    return adversarial.lecam(real, fake, means).sum()

  each = adversarial.lecam(real.reshape(-1), fake.reshape(-1), means)
  np.testing.assert_allclose(
    adversarial.lecam(real, fake, means),
    each.reshape(3, 4).mean(axis=1),
    rtol=1e-5,
  )
  slopes = jax.grad(total, (0, 1, 2))(real, fake, means)
  assert (slopes[0] >= 0).all() and (slopes[0] > 0).any()
  assert (slopes[1] <= 0).all() and (slopes[1] < 0).any()
  assert slopes[2] == adversarial.LogitMeans(real=0, fake=0)


def test_means_follow_the_logits_of_each_side():
  real, fake = logits(4, 2), logits(4, 2, seed=1)
  means = adversarial.LogitMeans.zeros()
  for _ in range(2):
    means = means.update(real, fake, 0.75)
  share = 1 - 0.75**2
  np.testing.assert_allclose(means.real, share * real.mean(), rtol=1e-5)
  np.testing.assert_allclose(means.fake, share * fake.mean(), rtol=1e-5)


def test_means_are_those_of_all_replicas():
  real, fake = logits(8, 2), logits(8, 2, seed=1)
  start = adversarial.LogitMeans.zeros()
  got = jax.pmap(lambda r, f: start.update(r, f, 0.5, 'batch'), 'batch')(
    real, fake
  )
  want = start.update(real, fake, 0.5)
  for name in ('real', 'fake'):
    every_replica = np.full(8, getattr(want, name))
    np.testing.assert_allclose(getattr(got, name), every_replica, rtol=1e-5)


def test_the_adaptive_weight_equalizes_gradient_norms():
  a, b = logits(3, 3, 4), logits(3, 3, 4, seed=1)
  weight = adversarial.adaptive_weight(a, b)
  np.testing.assert_allclose(
    np.linalg.norm(weight * b), np.linalg.norm(a), rtol=1e-3
  )


def test_the_adaptive_weight_of_zero_gradients():
  a, zero = logits(3, 3, 4), np.zeros((3, 3, 4), np.float32)
  length = np.linalg.norm(a)
  assert adversarial.adaptive_weight(zero, a) == 0
  assert adversarial.adaptive_weight(zero, zero) == 0
  assert adversarial.adaptive_weight(a, zero) == 1e4
  assert adversarial.adaptive_weight(a, zero, limit=7.0) == 7
  got = adversarial.adaptive_weight(a, zero, epsilon=0.5)
  np.testing.assert_allclose(got, 2 * length, rtol=1e-5)


def test_the_adaptive_weight_has_no_gradient():
  a, b = logits(3), logits(3, seed=1)
  slopes = jax.grad(adversarial.adaptive_weight, (0, 1))(a, b)
  np.testing.assert_array_equal(slopes, np.zeros((2, 3)))
