"""Laws of the residual discriminator with blurred halving."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vq_jax import discriminators
from vq_jax.discriminators import stylegan
from vq_jax.losses import adversarial
from vq_jax.utils import trees


def shapes(discriminator, side):
  x = jnp.zeros((4, side, side, 3))
  return jax.eval_shape(discriminator.init_with_output, jax.random.key(0), x)


def test_its_parameter_count_is_that_of_maskgit():
  logits, variables = shapes(discriminators.StyleGAN(), 256)
  assert logits.shape == (4,)
  assert trees.count(variables) == 23_998_017
  assert len(jax.tree.leaves(variables)) == 38


def test_the_minibatch_adds_one_channel_to_one_kernel():
  plain = discriminators.StyleGAN(multipliers=(2, 4, 8, 8))
  _, without = shapes(plain, 64)
  _, variables = shapes(plain.clone(stddev_group=4), 64)
  assert trees.count(variables) - trees.count(without) == 9 * 512


@pytest.mark.parametrize(
  ('side', 'multipliers', 'last'), [(28, (2, 4), 7), (32, (2, 4, 8), 4)]
)
def test_the_last_feature_map_is_flattened(side, multipliers, last):
  discriminator = discriminators.StyleGAN(channels=4, multipliers=multipliers)
  _, variables = shapes(discriminator, side)
  width = 4 * multipliers[-1]
  kernel = variables['params']['dense']['kernel']
  assert kernel.shape == (last * last * width, width)


def test_an_image_that_the_blocks_do_not_divide_is_refused():
  discriminator = discriminators.StyleGAN(channels=4, multipliers=(1, 1, 1))
  with pytest.raises(ValueError, match='multiples of 8'):
    shapes(discriminator, 28)


def test_the_blur_by_hand():
  x = np.random.default_rng(0).normal(size=(2, 6, 8, 3)).astype(np.float32)
  taps = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64
  padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
  want = np.zeros((2, 3, 4, 3))
  for i in range(3):
    for j in range(4):
      window = padded[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4]
      want[:, i, j] = np.einsum('bhwc,hw->bc', window, taps)
  got = jax.jit(stylegan.blur_pool)(x)
  np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_the_blur_keeps_what_is_constant_but_at_the_edge():
  got = stylegan.blur_pool(jnp.full((1, 8, 8, 1), 3.0))
  np.testing.assert_array_equal(got[:, 1:-1, 1:-1], 3.0)
  assert (got[:, 0] < 3).all() and (got[:, :, -1] < 3).all()


def stddev(x, group):
  """The added channel, which is the same at all pixels: [B]."""
  out = stylegan.minibatch_stddev(x, group)
  np.testing.assert_array_equal(out[..., :-1], x)
  channel = np.asarray(out[..., -1])
  np.testing.assert_array_equal(
    channel, np.broadcast_to(channel[:, :1, :1], channel.shape)
  )
  return channel[:, 0, 0]


def test_minibatch_stddev_of_equal_images_is_zero():
  x = np.random.default_rng(0).normal(size=(1, 3, 3, 2)).astype(np.float32)
  x = jnp.repeat(x, 4, axis=0)
  np.testing.assert_allclose(stddev(x, 4), 0, atol=1e-3)
  moved = x.at[0].add(2.0)
  want = 2 * np.sqrt(0.25 * 0.75)
  np.testing.assert_allclose(stddev(moved, 4), want, rtol=1e-5)


def test_groups_are_adjacent_channels_and_independent():
  x = np.random.default_rng(0).normal(size=(6, 3, 3, 2)).astype(np.float32)
  got = stddev(jnp.asarray(x), 3)
  for start in (0, 3):
    want = x[start : start + 3].std(axis=0).mean()
    np.testing.assert_allclose(got[start : start + 3], want, rtol=1e-5)
  assert abs(got[0] - got[3]) > 1e-3


@pytest.mark.parametrize(
  ('batch', 'group', 'used'), [(6, 4, 3), (8, 4, 4), (3, 4, 3), (7, 4, 1)]
)
def test_a_group_is_the_largest_that_fills_the_batch(batch, group, used):
  rng = np.random.default_rng(0)
  x = jnp.asarray(rng.normal(size=(batch, 2, 2, 1)), jnp.float32)
  np.testing.assert_array_equal(stddev(x, group), stddev(x, used))
  sizes = {
    len(set(stddev(x, used)[i : i + used])) for i in range(0, batch, used)
  }
  assert sizes == {1} and len(set(stddev(x, used).tolist())) <= batch // used


def test_the_penalty_has_gradients_for_equal_images():
  discriminator = discriminators.StyleGAN(
    channels=2, multipliers=(1, 1), stddev_group=2
  )
  x = jnp.full((2, 8, 8, 3), 0.5)
  variables = jax.jit(discriminator.init)(jax.random.key(0), x)

  @jax.jit
  @jax.grad
  def gradient(variables):
    return adversarial.r1_penalty(
      lambda image: discriminator.apply(variables, image), x
    ).mean()

  found = jax.tree.leaves(gradient(variables))
  assert all(np.isfinite(leaf).all() for leaf in found)
  assert max(np.abs(leaf).max() for leaf in found) > 0
