"""Augmentations beside SciPy and Pillow, in values and gradients."""

import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from vq_jax.guidance import augmentations
from vq_jax.guidance import warp

ALL = 'flip,affine,perspective,color,erase,noise'


def image_of(height=12, width=12, seed=0):
  rng = np.random.default_rng(seed)
  return jnp.asarray(rng.uniform(size=(height, width, 3)), jnp.float32)


def matrices():
  key = jax.random.key(5)
  return {
    'flip': augmentations.Flip().matrix(key),
    'affine': augmentations.Affine(degrees=60, translate=0.3).matrix(key),
    'perspective': augmentations.Perspective().matrix(key),
    'all': augmentations.Affine().matrix(key)
    @ augmentations.Perspective(distortion=0.4).matrix(key),
  }


def scipy_warp(image, matrix):
  height, width, _ = image.shape
  x = (np.arange(width) + 0.5) * 2 / width - 1
  y = (np.arange(height) + 0.5) * 2 / height - 1
  new = np.stack([*np.meshgrid(x, y), np.ones((height, width))])
  old = np.einsum('ij,jhw->ihw', np.linalg.inv(np.asarray(matrix, float)), new)
  column = (old[0] / old[2] + 1) * width / 2 - 0.5
  row = (old[1] / old[2] + 1) * height / 2 - 0.5
  return np.stack(
    [
      ndimage.map_coordinates(
        image[..., c], [row, column], order=1, mode='nearest'
      )
      for c in range(3)
    ],
    axis=-1,
  )


@pytest.mark.parametrize('name', ['flip', 'affine', 'perspective', 'all'])
def test_a_warp_is_scipys_in_value_and_gradient(name):
  matrix, image = matrices()[name], image_of(9, 14)
  want = scipy_warp(np.asarray(image, float), matrix)
  np.testing.assert_allclose(warp.warp(image, matrix), want, atol=1e-4)
  # A warp is linear in the image, so its gradient is its transpose.
  other, weights = image_of(9, 14, seed=1), image_of(9, 14, seed=2)
  grad = jax.grad(lambda x: (warp.warp(x, matrix) * weights).sum())(image)
  want = (scipy_warp(np.asarray(other, float), matrix) * weights).sum()
  np.testing.assert_allclose((grad * other).sum(), want, rtol=1e-4)


def test_corners_go_where_they_should():
  corners = jnp.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
  moved = corners * 0.6 + jnp.array([[0.1, 0], [0, 0.2], [-0.1, 0], [0, 0.3]])
  matrix = warp.square_to_quadrilateral(moved)
  found = jnp.concatenate([corners, jnp.ones((4, 1))], axis=1) @ matrix.T
  np.testing.assert_allclose(found[:, :2] / found[:, 2:], moved, atol=1e-5)


def test_a_flip_is_exact_and_two_are_none():
  image = image_of()
  flip = augmentations.Flip(probability=1.0)
  once = augmentations.augment([flip], jax.random.key(0), image)
  np.testing.assert_allclose(once, image[:, ::-1], atol=1e-5)
  twice = augmentations.augment([flip, flip], jax.random.key(0), image)
  np.testing.assert_allclose(twice, image, atol=1e-5)


def test_hue_keeps_grey_and_luma_and_turns_colours_as_hsv_does():
  grey = jnp.full((1, 1, 3), 0.4)
  np.testing.assert_allclose(
    augmentations.rotate_hue(grey, 0.3), grey, atol=1e-5
  )
  image = image_of()
  turned = augmentations.rotate_hue(image, 0.2)
  luma = jnp.array([0.299, 0.587, 0.114])
  np.testing.assert_allclose(turned @ luma, image @ luma, atol=1e-5)
  np.testing.assert_allclose(
    augmentations.rotate_hue(image, 1.0), image, atol=1e-4
  )
  # A third of a turn: the hue of red becomes nearly that of green or blue.
  red = np.array(augmentations.rotate_hue(jnp.array([1.0, 0, 0]), 1 / 3))
  hue = colorsys.rgb_to_hsv(*np.clip(red, 0, 1))[0]
  assert min(abs(hue - 1 / 3), abs(hue - 2 / 3)) < 0.12


@pytest.mark.parametrize('name', augmentations.KINDS)
def test_probability_0_changes_nothing_and_1_changes_all(name):
  kind, image = type(augmentations.KINDS[name]), image_of()
  keys = jax.random.split(jax.random.key(1), 4)

  def changed(probability):
    augment = [kind(probability=probability)]
    found = jax.vmap(lambda key: augmentations.augment(augment, key, image))(
      keys
    )
    return [not np.allclose(x, image, atol=1e-5) for x in found]

  assert not any(changed(0.0)) and all(changed(1.0))


@pytest.mark.parametrize('image', [image_of(), jnp.full((8, 8, 3), 0.5)])
def test_gradients_are_finite_and_reach_the_image(image):
  augment = augmentations.by_names(ALL)

  @jax.grad
  def grad(image, key):
    return jnp.sin(augmentations.augment(augment, key, image)).sum()

  keys = jax.random.split(jax.random.key(2), 16)
  found = jax.vmap(grad, in_axes=(None, 0))(image, keys)
  assert (
    np.isfinite(found).all() and (np.abs(found).sum(axis=(1, 2, 3)) > 0).all()
  )


def test_noise_and_erasure_are_of_their_sizes():
  image = jnp.ones((40, 40, 3))
  keys = jax.random.split(jax.random.key(4), 64)
  noise = augmentations.Noise(scale=0.1)
  noisy = jax.vmap(lambda k: noise.change(k, image))(keys)
  deviation = noisy.std(axis=(1, 2, 3))
  assert deviation.max() < 0.105 and 0.04 < deviation.mean() < 0.06
  erase = augmentations.Erase(ratio=1.5)
  erased = jax.vmap(lambda k: erase.change(k, image))(keys)
  area = (erased == 0).mean(axis=(1, 2, 3))
  assert 0.07 < area.min() and area.max() < 0.44


def test_brightness_contrast_and_saturation():
  image, key = image_of(), jax.random.key(0)
  bright = augmentations.ColorJitter(hue=0.0, saturation=0.0, brightness=0.3)
  difference = bright.change(key, image) - image
  np.testing.assert_allclose(difference, difference[0, 0, 0], atol=1e-5)
  assert 0 < abs(difference[0, 0, 0]) <= 0.3
  contrast = augmentations.ColorJitter(hue=0.0, saturation=0.0, contrast=0.5)
  found = contrast.change(key, image)
  np.testing.assert_allclose(found.mean(), image.mean(), atol=1e-4)
  assert not np.allclose(found, image, atol=1e-3)


def test_names():
  assert augmentations.by_names('none') == augmentations.by_names('') == ()
  assert len(augmentations.by_names(ALL)) == 6
  with pytest.raises(ValueError, match="named flip, .* got 'flop'"):
    augmentations.by_names('flip,flop')
