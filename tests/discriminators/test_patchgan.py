"""Laws of the discriminator of patches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vq_jax import discriminators
from vq_jax.discriminators import patchgan
from vq_jax.utils import trees


def shapes(discriminator, side, batch=1):
  x = jnp.zeros((batch, side, side, 3))
  return jax.eval_shape(discriminator.init_with_output, jax.random.key(0), x)


def test_its_parameter_count_is_that_of_taming():
  """3136 + 131328 + 524800 + 2098176 + 8193, as its layout says."""
  _, variables = shapes(discriminators.PatchGAN(), 64)
  assert trees.count(variables) == 2_765_633
  names = trees.flatten(variables['params'])
  with_bias = {n.split('/')[0] for n in names if n.endswith('bias')}
  assert with_bias == {'conv_0', 'norm_1', 'norm_2', 'norm_3', 'conv_out'}


def test_widths_stop_growing():
  _, variables = shapes(discriminators.PatchGAN(channels=2, layers=5), 96)
  widths = [
    variables['params'][f'conv_{i}']['kernel'].shape[-1] for i in range(6)
  ]
  assert widths == [2, 4, 8, 16, 16, 16]


@pytest.mark.parametrize(
  ('layers', 'side', 'patches'),
  [(3, 24, 1), (3, 64, 6), (3, 71, 6), (3, 256, 30), (2, 64, 14), (1, 6, 1)],
)
def test_patches(layers, side, patches):
  discriminator = discriminators.PatchGAN(channels=4, layers=layers)
  logits, _ = shapes(discriminator, side, batch=2)
  assert logits.shape == (2, patches, patches)


@pytest.mark.parametrize(('layers', 'side'), [(3, 23), (1, 5)])
def test_an_image_without_a_patch_is_refused(layers, side):
  discriminator = discriminators.PatchGAN(channels=4, layers=layers)
  with pytest.raises(ValueError, match=f'at least {side + 1} x'):
    shapes(discriminator, side)


def test_an_unknown_norm_is_refused():
  with pytest.raises(ValueError, match="got 'layer'"):
    shapes(discriminators.PatchGAN(norm='layer'), 64)


def slope(norm, batch):
  """The pixels that affect a central logit of image 0: bool [B, H, W]."""
  discriminator = discriminators.PatchGAN(channels=2, norm=norm)
  rng = np.random.default_rng(0)
  x = jnp.asarray(rng.uniform(size=(batch, 96, 96, 3)), jnp.float32)
  variables = jax.jit(discriminator.init)(jax.random.key(1), x)
  logit = jax.jit(
    jax.grad(lambda x: discriminator.apply(variables, x)[0, 4, 4])
  )
  return (np.asarray(logit(x)) != 0).any(axis=-1)


def test_the_receptive_field_of_a_logit_is_70_by_70_pixels():
  """The pixels of logit i begin at 8 i - 23."""
  want = np.zeros((1, 96, 96), bool)
  want[:, 9:79, 9:79] = True
  np.testing.assert_array_equal(slope('none', 1), want)


def test_batch_norm_makes_logits_depend_on_all_images():
  assert slope('batch', 2)[1].any()


def test_weights_begin_as_those_of_dcgan():
  discriminator = discriminators.PatchGAN(channels=16, layers=2)
  x = jnp.zeros((1, 12, 12, 3))
  for norm in ('batch', 'group'):
    named = discriminator.clone(norm=norm, groups=8)
    variables = jax.jit(named.init)(jax.random.key(0), x)['params']
    for name, leaf in trees.flatten(variables).items():
      centre = {'kernel': 0, 'scale': 1, 'bias': 0}[name.split('/')[-1]]
      spread = 0 if name.endswith('bias') else 0.02
      error = 5 * spread / np.sqrt(leaf.size)
      np.testing.assert_allclose(leaf.mean(), centre, atol=error)
      np.testing.assert_allclose(leaf.std(), spread, atol=error)


def test_batch_norm_by_hand():
  rng = np.random.default_rng(0)
  x = rng.normal(3, 5, size=(4, 2, 3, 2)).astype(np.float32)
  scale, bias = np.array([2, -1], np.float32), np.array([0.5, 3], np.float32)
  norm = patchgan.BatchNorm(epsilon=0.1)
  got = norm.apply({'params': {'scale': scale, 'bias': bias}}, x)
  centred = x - x.mean(axis=(0, 1, 2))
  want = centred / np.sqrt(x.var(axis=(0, 1, 2)) + 0.1) * scale + bias
  np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
